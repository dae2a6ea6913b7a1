"""A turn: what one task of a device has at a time, and others wait for without holding up those who wait for memory."""

import threading

from overspill.memory.store import process


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

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            with process.standing():
                self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()
