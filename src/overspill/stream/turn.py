"""A turn: what one task of a device has at a time, and others wait for without holding up those who wait for memory."""

import threading
import time
from collections.abc import Callable

from overspill.memory.store import process

GIVING_WAY_PER_S = 2**37
"""Bytes that are to go up, for each second that their task gives others: an H200's link takes three times as long."""

POLLING_S = 1e-3
"""Seconds after which a task that gives others time looks again."""


class Turn:
    """A lock that a task may hold while it waits for memory, which it does until another task ends.

    That other one must not be one that waits here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def taken(self) -> bool:
        """Whether some task has it now."""
        return self._lock.locked()

    def let_others(self, nbytes: int, idle: Callable[[], bool]) -> None:
        """Give others time to take it while all is `idle`: a third of what `nbytes` take over a GPU's link."""
        end = time.monotonic() + nbytes / GIVING_WAY_PER_S
        while idle() and not self.taken and (left_s := end - time.monotonic()) > 0:
            time.sleep(min(left_s, POLLING_S))

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            with process.standing():
                self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()
