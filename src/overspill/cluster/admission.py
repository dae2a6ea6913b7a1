"""Which tasks of a worker may run: any number of them together, or one alone that ran out of memory beside others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager


class Admission:
    """Lets tasks of one event loop in, and keeps them out while another one has the worker to itself.

    Parameters
    ----------
    away
        Tells how many tasks have let others run in their place, and are not to be waited for.
    """

    def __init__(self, away: Callable[[], int]) -> None:
        self._away = away
        self._changed = asyncio.Event()
        self._solo = asyncio.Lock()
        self._inside = 0
        self._alone = 0
        self._is_away: Callable[[], bool] = bool

    async def open(self) -> None:
        """Wait while one runs alone, or wants to; not for one that has let others run in its place meanwhile."""
        while self._alone and not self._is_away():
            self._changed.clear()
            await self._changed.wait()

    def look_again(self) -> None:
        """Tell those who wait that some task has let others run in its place."""
        self._changed.set()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run beside others, once `open` has returned."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._changed.set()

    @asynccontextmanager
    async def alone(self, is_away: Callable[[], bool]) -> AsyncIterator[None]:
        """Run once all others have ended, and before any other begins; one after the other if several want to.

        `is_away` tells whether the task has let others run in its place, which it may then wait for.
        """
        self._alone += 1
        try:
            async with self._solo:
                while self._inside > self._away():
                    self._changed.clear()
                    await self._changed.wait()
                self._is_away = is_away
                try:
                    yield
                finally:
                    self._is_away = bool
        finally:
            self._alone -= 1
            self._changed.set()
