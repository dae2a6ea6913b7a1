"""What a rank tells the client while it solves: how far it is and, every few seconds, from where others could go on."""

import pickle
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from distributed import Worker
from numpy.typing import NDArray

from overspill import backend, memory
from overspill.linalg.resident.vectors import GO_ON, HAND_OVER, STOP, Distributed
from overspill.memory import link, tile

TOPIC = "overspill-resident"
"""Topic of the events between ranks and clients."""

REPORT_S = 0.25
"""Between two reports of an iteration."""

CHECKPOINT_S = 5.0
"""Between two checkpoints: what is lost at most when a worker dies, beside the time to start again."""

KEPT = 2
"""Checkpoints that a rank keeps: the client maps one of them some milliseconds after it is told of it."""


class Reporter:
    """A rank's part in progress and checkpoints; see `overspill.linalg.space.Progress`.

    Parameters
    ----------
    worker
        This process's Dask worker.
    name
        Of the round.
    rank
        Of this process.
    wanted
        Says whether somebody still waits for the result.
    """

    def __init__(self, worker: Worker, name: str, rank: int, wanted: Callable[[], bool]) -> None:
        self.worker = worker
        self.name = name
        self.rank = rank
        self.wanted = wanted
        self.space: Distributed | None = None
        self._told_s = self._handed_over_s = time.perf_counter()
        self._kept: deque[list[Any]] = deque(maxlen=KEPT)

    def word(self) -> int:
        """What to say to the other ranks now; rank 0 has the clock."""
        if not self.wanted():
            return STOP
        due = self.rank == 0 and time.perf_counter() - self._handed_over_s >= CHECKPOINT_S
        return HAND_OVER if due else GO_ON

    def __call__(self, iteration: int, residual: float, **restart: Any) -> None:
        """Tell of an iteration, if it is time."""
        now_s = time.perf_counter()
        if self.rank == 0 and now_s - self._told_s >= REPORT_S:
            self._told_s = now_s
            self._tell(iteration=iteration, residual=float(residual))
        if restart and self.space is not None and self.space.asked_to_hand_over:
            self.space.asked_to_hand_over = False
            self._handed_over_s = now_s
            self._hand_over(iteration, restart)

    def _hand_over(self, iteration: int, vectors: dict[str, Any]) -> None:
        copies = {name: _copied(x) for name, x in vectors.items()}
        self._kept.append(list(copies.values()))
        parts = {name: tile.to_handle(x) or x for name, x in copies.items()}
        self._tell(iteration=iteration, rank=self.rank, parts=pickle.dumps(parts))

    def _tell(self, **told: Any) -> None:
        self.worker.log_event(TOPIC, {"round": self.name, **told})


def _copied(x: Any) -> NDArray[Any]:
    """A tile with the values that `x` has now; a small array where `x` is one."""
    if backend.is_device_array(x):
        return link.download(x)
    copy = memory.empty(x.shape, x.dtype)
    np.copyto(copy, x)
    return copy
