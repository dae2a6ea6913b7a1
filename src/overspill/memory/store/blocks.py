"""Device memory for copies up, used again and again.

A block that was let go is free once the kernels queued by then are done, and these may be waiting for the copies up
before them. Handed out again at once, it would have the next copy wait for those kernels while the link stands idle;
so the block that has lain idle longest is handed out first, and some are left lying while there is room for new ones.
"""

import math
import threading
from collections import defaultdict, deque
from typing import Any

SPARE = 2
"""Blocks of a size that are left lying: a copy then waits for kernels that are two copies behind it."""


class Blocks:
    """Blocks by size; what they are, and the events after which they are free, is the device's own affair."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: defaultdict[int, deque[tuple[Any, Any]]] = defaultdict(deque)
        # Blocks end whenever the garbage collector finds them; an append to a deque needs no lock.
        self._released: deque[tuple[int, Any, Any]] = deque()

    def release(self, size: int, block: Any, free: Any) -> None:
        """Take a block that nobody has any more, free after the event `free`; never waits."""
        self._released.append((size, block, free))

    def take(self, size: int, *, leave: int) -> tuple[Any, Any] | None:
        """The block of `size` bytes that was released first, and its event; None unless more than `leave` lie idle."""
        with self._lock:
            self._collect()
            idle = self._idle[size]
            return idle.popleft() if len(idle) > leave else None

    def drop_one(self, size: int) -> bool:
        """Forget one idle block of at least `size` bytes, the smallest there is; whether there was one."""
        with self._lock:
            self._collect()
            fitting = min((each for each, idle in self._idle.items() if idle and each >= size), default=None)
            return fitting is not None and bool(self._idle[fitting].popleft())

    def drop(self, nbytes: float = math.inf) -> bool:
        """Forget idle blocks until that makes `nbytes`, one of at least that size if there is; whether any were."""
        dropped, dropped_nbytes = [], 0
        with self._lock:
            self._collect()
            for size in sorted(self._idle, key=lambda size: (size < nbytes, abs(size - nbytes))):
                while self._idle[size] and dropped_nbytes < nbytes:
                    dropped.append(self._idle[size].popleft())
                    dropped_nbytes += size
        return bool(dropped)

    def _collect(self) -> None:
        while self._released:
            size, block, free = self._released.popleft()
            self._idle[size].append((block, free))
