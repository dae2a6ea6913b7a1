"""What a client hears of a round: how far it is, and the latest place from where it could go on."""

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from distributed import Client
from numpy.typing import NDArray

from overspill.errors import StaleTileError
from overspill.linalg.resident.reporting import TOPIC
from overspill.memory import tile


class Hearing:
    """What has come of one round; events come on the client's event loop, questions from the thread that waits.

    Parameters
    ----------
    name
        Of the round.
    size
        Number of its ranks.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._lock = threading.Lock()
        self._told: tuple[int, float] | None = None
        self._arriving: dict[int, dict[int, dict[str, NDArray[Any]]]] = {}
        self._complete: tuple[int, dict[int, dict[str, NDArray[Any]]]] | None = None

    def hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Take note of an event."""
        _, told = event
        if told["round"] != self.name:
            return
        iteration: int = told["iteration"]
        if "parts" not in told:
            with self._lock:
                self._told = iteration, told["residual"]
            return
        try:
            parts = {name: _mapped(found) for name, found in pickle.loads(told["parts"]).items()}
        except StaleTileError:
            return  # too late, or from another host: the round can do without, unless it has to start again
        with self._lock:
            arrived = self._arriving.setdefault(iteration, {})
            arrived[told["rank"]] = parts
            if len(arrived) == self.size:
                self._complete = iteration, arrived
                self._arriving = {later: found for later, found in self._arriving.items() if later > iteration}

    def news(self) -> tuple[int, float] | None:
        """The iteration told of since the last question, and its residual."""
        with self._lock:
            told, self._told = self._told, None
        return told

    def checkpoint(self) -> tuple[int, dict[str, NDArray[Any]]] | None:
        """The iteration that all ranks last handed over their vectors after, and these, whole."""
        with self._lock:
            complete = self._complete
        if complete is None:
            return None
        iteration, arrived = complete
        names = arrived[0]
        return iteration, {name: np.concatenate([arrived[rank][name] for rank in range(self.size)]) for name in names}

    def forget(self) -> None:
        """Let go of what has come: the client keeps the last handler of a topic."""
        with self._lock:
            self.name, self._complete = "", None
            self._arriving.clear()


@contextmanager
def hearing(client: Client, name: str, size: int) -> Iterator[Hearing]:
    """Hear of the round `name` for the length of the block."""
    found = Hearing(name, size)
    client.subscribe_topic(TOPIC, found.hear)
    try:
        yield found
    finally:
        client.unsubscribe_topic(TOPIC)
        found.forget()


def _mapped(found: Any) -> NDArray[Any]:
    mapped: NDArray[Any] = tile.from_handle(found) if isinstance(found, tile.TileHandle) else found
    return mapped
