"""Buffers that a device's tasks hand on to each other instead of allocating them anew."""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Buffers:
    """Idle buffers by size; sizes nobody asks for any more are dropped at the first new one.

    Parameters
    ----------
    allocate
        Makes a buffer of a number of bytes.
    drop
        Called with the number of bytes of a buffer that is let go.
    """

    def __init__(self, allocate: Callable[[int], Any], drop: Callable[[int], object]) -> None:
        self._allocate = allocate
        self._drop = drop
        self._lock = threading.Lock()
        self._idle: defaultdict[int, list[Any]] = defaultdict(list)

    def take(self, nbytes: int) -> Any:
        """A buffer of `nbytes` bytes, its content undefined."""
        with self._lock:
            if self._idle[nbytes]:
                return self._idle[nbytes].pop()
            self._clear()
        return self._allocate(nbytes)

    def give(self, nbytes: int, buffer: Any) -> None:
        """Hand a buffer of `nbytes` bytes back."""
        with self._lock:
            self._idle[nbytes].append(buffer)

    def _clear(self) -> None:
        for nbytes, buffers in self._idle.items():
            while buffers:
                buffers.pop()
                self._drop(nbytes)
