"""Which segment an address belongs to: how a tile, or any view of one, is told from an ordinary array."""

import threading
from bisect import bisect_right, insort

import numpy as np
from numpy.typing import NDArray

from overspill.memory.segment import Segment

_lock = threading.RLock()
_starts: list[int] = []
_segments: dict[int, Segment] = {}


def add(segment: Segment) -> None:
    """Make arrays over `segment` known as tiles."""
    with _lock:
        insort(_starts, segment.address)
        _segments[segment.address] = segment


def remove(segment: Segment) -> None:
    """Forget `segment`; to be called before it is unmapped, for its addresses may then be anyone's."""
    with _lock:
        _starts.remove(segment.address)
        del _segments[segment.address]


def find(x: NDArray[np.generic]) -> tuple[Segment, int] | None:
    """The segment that holds all of `x`'s elements and the offset of the first one, or None for an ordinary array."""
    if not x.size:
        return None
    address = x.__array_interface__["data"][0]
    with _lock:
        index = bisect_right(_starts, address) - 1
        if index < 0:
            return None
        segment = _segments[_starts[index]]
    # The base address lies in the segment; a live array over it cannot reach past it, whatever its strides.
    offset = address - segment.address
    return (segment, offset) if offset < segment.nbytes else None
