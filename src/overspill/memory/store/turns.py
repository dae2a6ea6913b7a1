"""Tasks of one worker that lack memory on the device wait for each other instead of failing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Turns:
    """Counts the tasks of a worker and those among them that wait for memory.

    Parameters
    ----------
    changed
        The store's condition, notified whenever something frees memory.

    Attributes
    ----------
    away
        Tells how many tasks have let others run in their place, and may be waiting for those to end.
    """

    def __init__(self, changed: threading.Condition) -> None:
        self.away: Callable[[], int] = lambda: 0
        self._changed = changed
        self._loop_thread: int | None = None
        self._running = 0
        self._waiting = 0
        self._ended = 0
        self._closed = False

    def belongs_to_loop(self) -> None:
        """Tell that the calling thread is the event loop's, which must never wait for a task."""
        self._loop_thread = threading.get_ident()

    def begin(self) -> None:
        """A task begins."""
        with self._changed:
            self._running += 1

    def end(self) -> None:
        """A task has ended, and what it held is free."""
        with self._changed:
            self._running -= 1
            self._ended += 1

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self) -> bool:
        """Wait until another task ends; False at once when all others wait too, or there is none."""
        with self._changed:
            if self._closed or self._at_work() <= 1 or threading.get_ident() == self._loop_thread:
                return False
            ended = self._ended
            with self.standing():
                self._changed.wait_for(lambda: self._closed or self._ended != ended or self._at_work() <= 0)
            return self._ended != ended

    def _at_work(self) -> int:
        return self._running - self._waiting - self.away()

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Count the calling task among those that wait, for as long as the block waits for whatever it is."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1
