"""Slots: the pairs of buffers of a GPU that panels go up into, of one task alone or of all that have theirs in turn."""

import threading
from collections.abc import Callable
from itertools import cycle
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from overspill import memory
from overspill.memory.pinning import pin
from overspill.stream.buffers import Buffers
from overspill.stream.device import SLOTS

Key = tuple[int, int]
"""Operand, 0 or 1, and slot."""


class Slots:
    """Pairs of panel buffers, filled one after the other, whoever fills them, and given back when nobody uses them.

    Parameters
    ----------
    buffers
        Where they come from.

    Attributes
    ----------
    uploaded
        The event after which a buffer's last panel is there.
    multiplied
        The event after which a slot's last panels are multiplied.
    """

    def __init__(self, buffers: Buffers) -> None:
        self._buffers = buffers
        self._lock = threading.Lock()
        self._users = 0
        self._order = cycle(range(SLOTS))
        self._panels: dict[Key, tuple[int, cupy.cuda.MemoryPointer]] = {}
        self._staging: dict[Key, NDArray[np.uint8]] = {}
        self.uploaded = {
            (operand, slot): cupy.cuda.Event(disable_timing=True) for operand in (0, 1) for slot in range(SLOTS)
        }
        self.multiplied = [cupy.cuda.Event(disable_timing=True) for _ in range(SLOTS)]

    @property
    def multiplied_all(self) -> bool:
        """Whether what was queued to be multiplied is."""
        return all(event.done for event in self.multiplied)

    def join(self) -> None:
        """Begin to use them."""
        with self._lock:
            self._users += 1

    def leave(self) -> None:
        """End it, when what this user has queued is done."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for key in list(self._panels):
                    self._give(key)
                self._staging.clear()

    def following(self) -> int:
        """The slot to be filled next.

        What was in it is multiplied, or queued to be, if a task lets others fill slots only once it multiplies itself.
        """
        return next(self._order)

    def panel(self, key: Key, nbytes: int, take: Callable[[int], cupy.cuda.MemoryPointer]) -> cupy.cuda.MemoryPointer:
        """The buffer of `nbytes` bytes, taken anew by `take` if the one that is there is of another size."""
        if key in self._panels and self._panels[key][0] != nbytes:
            self._give(key)
        if key not in self._panels:
            self._panels[key] = nbytes, take(nbytes)
        return self._panels[key][1]

    def staging(self, key: Key, nbytes: int) -> NDArray[Any]:
        """A page-locked host buffer of `nbytes` bytes, for what goes up into that of `key`."""
        if key not in self._staging or self._staging[key].nbytes != nbytes:
            self._staging[key] = memory.empty((nbytes,), np.uint8)
            pin(self._staging[key])
        return self._staging[key]

    def _give(self, key: Key) -> None:
        self.uploaded[key].synchronize()
        self.multiplied[key[1]].synchronize()
        self._buffers.give(*self._panels.pop(key))
