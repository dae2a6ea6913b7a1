"""Which tasks of a worker may run: any number of them together, or one alone that ran out of memory beside others."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Admission:
    """Lets tasks of one event loop in, and keeps them out while another one has the worker to itself.

    Parameters
    ----------
    standing
        Number of tasks that have let others run in their place, and are not to be waited for.
    """

    def __init__(self, standing: Callable[[], int]) -> None:
        self._standing = standing
        self._changed = asyncio.Condition()
        self._solo = asyncio.Lock()
        self._inside = 0
        self._alone = 0

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Run beside others; waits while one runs alone."""
        if self._alone:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._alone)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if self._alone:
                async with self._changed:
                    self._changed.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run once all others have ended, and before any other begins; one after the other if several want to."""
        self._alone += 1
        try:
            async with self._solo:
                async with self._changed:
                    await self._changed.wait_for(lambda: self._inside <= self._standing())
                yield
        finally:
            self._alone -= 1
            async with self._changed:
                self._changed.notify_all()
