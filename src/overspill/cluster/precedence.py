"""Which tile of a product a worker begins with: the one that is meant to, though Dask begins with what is ready.

Between products Dask drops second copies of what lies in memory, handles of tiles too. A tile of which one chunk has to
be fetched is ready a few milliseconds after the others. They would begin in its place, with panels that take 0.1 s to
go up to a GPU that has nothing else to do.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distributed.worker_state_machine import READY, TaskState

from overspill.planning.placement import is_of_product
from overspill.stream.product import TileTask

PATIENCE_S = 0.02
"""Seconds that others wait for a tile's chunks: one that begins with wide panels loses five times that."""

POLLING_S = 1e-3
"""Seconds after which they look again."""


@dataclass(slots=True)
class _Awaited:
    """A tile that is yet to begin: until when others wait for its chunks, and who has given way to it."""

    end: float
    gave_way: set[Any]


class Precedence:
    """Tells a worker, which is about to begin a task, that another one should be begun in its place.

    Parameters
    ----------
    tasks
        All that the worker knows, by key.
    """

    def __init__(self, tasks: Mapping[Any, TaskState]) -> None:
        self._tasks = tasks
        self._awaited: dict[Any, _Awaited] = {}

    async def gives_way(self, key: Any) -> bool:
        """Whether the task is to be scheduled anew, since the one before which it may not begin wants its place.

        It is told so once at most.
        """
        self._awaited.pop(key, None)  # it begins
        if (first := self._first(key)) is None:
            return False
        if self._state(first) not in {"waiting", *READY}:  # but begun, or not this worker's
            self._awaited.pop(first, None)
            return False
        loop = asyncio.get_running_loop()
        awaited = self._awaited.setdefault(first, _Awaited(loop.time() + PATIENCE_S, set()))
        while (waiting := self._state(first) == "waiting") and loop.time() < awaited.end:
            await asyncio.sleep(POLLING_S)
        if self._state(first) in READY and key not in awaited.gave_way:
            awaited.gave_way.add(key)
            return True
        if not waiting:
            await asyncio.sleep(POLLING_S)  # what begins has yet to reach its thread
        return False

    def _first(self, key: Any) -> Any:
        """The key of the tile before which that of `key` may not begin, if it is one."""
        if not is_of_product(key) or (task := self._tasks.get(key)) is None:
            return None
        argument = _first_argument(task.run_spec)
        fused = argument if isinstance(argument, dict) else {key: task.run_spec}
        for inner, specification in fused.items():
            tile = _first_argument(specification)
            if isinstance(tile, TileTask) and tile.first is not None and inner[1:] == key[1:]:
                return (key[0], *tile.first)
        return None

    def _state(self, key: Any) -> str | None:
        return task.state if (task := self._tasks.get(key)) else None


def _first_argument(specification: Any) -> Any:
    """What a task is called with: of a tile's what to make, of tasks that Dask has fused these, by key."""
    return next(iter(getattr(specification, "args", ())), None)
