"""Cutting an axis: chunk boundaries, groups of chunks, bands, and which chunks cover an interval. Integers only."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

BAND_ELEMENTS = 2**26
"""Of a tile, that its last product makes at a time: bands of less leave parts of a large GPU idle."""

BAND_STEP = 128
"""Rows, or a multiple of them, after which bands end: what cuBLAS gives to one group of threads, and aligned memory."""

LAST_HALVINGS = 3
"""Times that the last of them is halved: four GPUs that share their links bring a whole one away in 0.02 s, in a run
without a file."""


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


def group(chunk_bounds: Sequence[int], limit: int) -> tuple[int, ...]:
    """Join neighbouring chunks into parts of at most `limit`; a larger chunk is cut as `even` does.

    Examples
    --------
    >>> group((0, 4, 8, 12, 16, 20), 8), group((0, 10), 4), group((0, 1, 2, 11), 4)
    ((8, 8, 4), (4, 4, 2), (2, 3, 3, 3))
    """
    parts: list[int] = []
    start = 0
    while start < chunk_bounds[-1]:
        stop = chunk_bounds[bisect_right(chunk_bounds, start + limit) - 1]
        if stop > start:
            parts.append(stop - start)
        else:
            stop = chunk_bounds[bisect_right(chunk_bounds, start)]
            parts.extend(even(stop - start, limit))
        start = stop
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


def bands(rows: int, columns: int, elements: int = BAND_ELEMENTS) -> tuple[int, ...]:
    """Heights of bands of at most `elements`, ever smaller in the end: nobody works while the last is brought away.

    Each but the last is a multiple of `BAND_STEP`, and one such step is not cut.

    Examples
    --------
    >>> bands(3000, 1000, 1_000_000), bands(100, 10, 400)
    ((768, 768, 768, 384, 256, 56), (100,))
    """
    *heights, last = even(-(-rows // BAND_STEP), max(1, elements // (BAND_STEP * columns)))
    for _ in range(LAST_HALVINGS):
        if last > 1:
            heights.append(last - last // 2)
            last //= 2
    ends = accumulate(BAND_STEP * steps for steps in heights)
    return tuple(stop - start for start, stop in pairwise((0, *ends, rows)))


@dataclass(frozen=True, slots=True)
class Cut:
    """An axis of a result cut into tiles, and how its operand's chunks lie under them.

    Attributes
    ----------
    sizes
        Of the tiles.
    largest
        Of them.
    read
        Elements along the axis that all tiles read together: whole chunks, those on a tile's edge more than once.
    span
        Most elements along the axis of the chunks that one tile touches.
    """

    sizes: tuple[int, ...]
    largest: int
    read: int
    span: int


def cut(chunk_bounds: Sequence[int], sizes: tuple[int, ...]) -> Cut:
    """Tiles of the given sizes over chunks.

    Examples
    --------
    >>> cut((0, 4, 8, 12), (3, 3, 6))
    Cut(sizes=(3, 3, 6), largest=6, read=20, span=8)
    """
    touched = [
        chunk_bounds[bisect_left(chunk_bounds, stop)] - chunk_bounds[bisect_right(chunk_bounds, start) - 1]
        for start, stop in intervals(sizes)
    ]
    return Cut(sizes, max(sizes), sum(touched), max(touched))
