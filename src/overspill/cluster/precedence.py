"""Which tile of a product a worker begins with: the one that is meant to, though Dask begins with what is ready.

Between products Dask drops second copies of what lies in memory, handles of tiles too. A tile of which one chunk has to
be fetched is ready a few milliseconds after the others. They would begin in its place, with panels that take 0.1 s to
go up to a GPU that has nothing else to do.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from distributed.worker_state_machine import TaskState

from overspill.stream.product import TileTask

PATIENCE_S = 0.02
"""Seconds that a tile waits for another one's chunks: what begins with wide panels loses five times that."""

POLLING_S = 1e-3
"""Seconds after which it looks again."""


class Precedence:
    """Tells a worker, which is about to begin a task, that another one should be begun in its place.

    Parameters
    ----------
    tasks
        All that the worker knows, by key.
    """

    def __init__(self, tasks: Mapping[Any, TaskState]) -> None:
        self._tasks = tasks
        self._gave_way: set[Any] = set()

    async def gives_way(self, key: Any) -> bool:
        """Whether the task is to be scheduled anew, since the one before which it may not begin wants its place.

        That is so once at most until the task begins.
        """
        if (first := self._first(key)) is None:
            return False
        if key in self._gave_way:
            self._gave_way.remove(key)
            return False
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_S
        while self._state(first) == "waiting" and loop.time() < end:
            await asyncio.sleep(POLLING_S)
        if self._state(first) != "ready":  # but begun, or elsewhere, or still waiting
            return False
        self._gave_way.add(key)
        return True

    def _first(self, key: Any) -> Any:
        """The key of the tile before which that of `key` may not begin; of a tile that Dask fused with more, none."""
        run_spec = task.run_spec if (task := self._tasks.get(key)) else None
        tile = next(iter(getattr(run_spec, "args", ())), None)
        return (key[0], *tile.first) if isinstance(tile, TileTask) and tile.first is not None else None

    def _state(self, key: Any) -> str | None:
        return task.state if (task := self._tasks.get(key)) else None
