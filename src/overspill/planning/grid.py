"""Cutting an axis: chunk boundaries, groups of chunks, and which chunks cover an interval. Integers only."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of one chunk, seen from an interval that it helps to cover.

    Attributes
    ----------
    chunk
        Index of the chunk.
    start, stop
        The part, counted from the chunk's first element.
    offset
        Where the part begins, counted from the interval's first element.
    """

    chunk: int
    start: int
    stop: int
    offset: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start


def bounds(sizes: Sequence[int]) -> tuple[int, ...]:
    """Boundaries of consecutive parts of the given sizes, 0 and the total included.

    Examples
    --------
    >>> bounds((3, 3, 2))
    (0, 3, 6, 8)
    """
    return (0, *accumulate(sizes))


def intervals(sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """The parts as (start, stop) pairs.

    Examples
    --------
    >>> intervals((3, 3, 2))
    ((0, 3), (3, 6), (6, 8))
    """
    return tuple(pairwise(bounds(sizes)))


def cover(chunk_bounds: Sequence[int], start: int, stop: int) -> tuple[Piece, ...]:
    """The pieces of chunks that make up ``[start, stop)``, in order; empty chunks take no part.

    Examples
    --------
    >>> [(p.chunk, p.start, p.stop) for p in cover((0, 3, 6, 8), 2, 7)]
    [(0, 2, 3), (1, 0, 3), (2, 0, 1)]
    """
    first = bisect_right(chunk_bounds, start) - 1
    last = bisect_left(chunk_bounds, stop)
    pieces = []
    for chunk in range(first, last):
        low, high = max(start, chunk_bounds[chunk]), min(stop, chunk_bounds[chunk + 1])
        if low < high:
            base = chunk_bounds[chunk]
            pieces.append(Piece(chunk, low - base, high - base, low - start))
    return tuple(pieces)


def group(sizes: Sequence[int], limit: int) -> tuple[int, ...]:
    """Join neighbouring chunks into parts of at most `limit`; a larger chunk is cut as `even` does.

    Examples
    --------
    >>> group((4, 4, 4, 4, 4), 8), group((10,), 4), group((1, 1, 9), 4)
    ((8, 8, 4), (4, 4, 2), (2, 3, 3, 3))
    """
    parts: list[int] = []
    open_part = 0
    for size in sizes:
        if open_part and open_part + size > limit:
            parts.append(open_part)
            open_part = 0
        if size > limit:
            parts.extend(even(size, limit))
        else:
            open_part += size
    if open_part:
        parts.append(open_part)
    return tuple(parts)


def even(size: int, limit: int) -> tuple[int, ...]:
    """`size` in parts of at most `limit`: equal ones if that takes few more than the least number, else a shorter last.

    Parts of one size keep the boundaries of neighbouring chunks on one regular grid, which a store can have as its own.

    Examples
    --------
    >>> even(700, 250), even(10, 4)
    ((175, 175, 175, 175), (4, 4, 2))
    """
    least = -(-size // limit)
    for count in range(least, least + least // 2 + 1):
        if size % count == 0:
            return (size // count,) * count
    part = -(-size // least)
    return (part,) * (size // part) + ((size % part,) if size % part else ())
