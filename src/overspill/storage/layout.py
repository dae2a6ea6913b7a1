"""Where the blocks of an array lie in a store's grid of chunks: integers only, no files.

A block is what one task writes. Two tasks must never write the same chunk, or one undoes what the other wrote: so every
boundary between blocks is one between chunks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from math import gcd, prod

LARGEST_CHUNK_NBYTES = 64 * 2**20
"""Blocks above this are stored as several chunks, so that readers can take parts of them."""

SMALLEST_CHUNK_NBYTES = 2**20
"""Chunks below this are too small when there are also many of them, see `MOST_CHUNKS_PER_BLOCK`."""

MOST_CHUNKS_PER_BLOCK = 16
"""How many chunks, if they are small, a block of irregular sizes may take on average before it is rechunked."""

Blocks = tuple[tuple[int, ...], ...]
"""Sizes of the blocks along each axis, as in `dask.array.Array.chunks`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How an array is stored.

    Attributes
    ----------
    blocks
        Sizes of the blocks to write along each axis; not always those that the array came with.
    chunk_shape
        Shape of the store's chunks; those at the far edges reach beyond the array.
    """

    blocks: Blocks
    chunk_shape: tuple[int, ...]


def layout(blocks: Blocks, itemsize: int) -> Layout:
    """The coarsest grid of chunks on which `blocks` can be written independently of each other.

    Blocks of one size are one chunk each, unless they are larger than `LARGEST_CHUNK_NBYTES`: then a chunk is an even
    fraction of the block, as near to a cube as the small factors of its sides allow. Irregular blocks take the greatest
    common divisor of their boundaries; where that makes many tiny chunks, blocks of the largest size are to be
    written instead.

    Examples
    --------
    >>> layout(((4, 4, 2), (6,)), itemsize=8)
    Layout(blocks=((4, 4, 2), (6,)), chunk_shape=(4, 6))
    >>> layout(((16384, 16384),), itemsize=8192).chunk_shape
    (8192,)
    >>> layout(((1000, 999, 1001),), itemsize=8).blocks
    ((1001, 1001, 998),)
    """
    steps = [_step(sizes) for sizes in blocks]
    grid = [step or max(1, sum(sizes)) for step, sizes in zip(steps, blocks, strict=True)]
    if _too_fine(grid, blocks, itemsize):
        return layout(tuple(_regular(sum(sizes), max(sizes)) for sizes in blocks), itemsize)
    return Layout(blocks, _split(grid, [step == 0 for step in steps], itemsize))


def region(blocks: Blocks, block_id: Sequence[int]) -> tuple[slice, ...]:
    """The part of the array that a block covers.

    Examples
    --------
    >>> region(((4, 4, 2), (6,)), (1, 0))
    (slice(4, 8, None), slice(0, 6, None))
    """
    return tuple(
        slice(sum(sizes[:index]), sum(sizes[: index + 1])) for sizes, index in zip(blocks, block_id, strict=True)
    )


def chunks_in(part: Sequence[slice], chunk_shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Indices of the chunks that hold elements of `part`.

    Examples
    --------
    >>> list(chunks_in((slice(4, 8), slice(0, 6)), (2, 6)))
    [(2, 0), (3, 0)]
    """
    if any(axis.stop <= axis.start for axis in part):
        return iter(())
    return product(
        *(range(axis.start // side, -(-axis.stop // side)) for axis, side in zip(part, chunk_shape, strict=True))
    )


def block_ids(blocks: Blocks) -> Iterator[tuple[int, ...]]:
    """Indices of all blocks, in C order."""
    return product(*(range(len(sizes)) for sizes in blocks))


def _step(sizes: tuple[int, ...]) -> int:
    """What divides every boundary inside an axis; 0 where there is none to divide."""
    return gcd(*(bound for bound in accumulate(sizes) if bound < sum(sizes)))


def _too_fine(grid: Sequence[int], blocks: Blocks, itemsize: int) -> bool:
    chunk_count = prod(-(-sum(sizes) // side) for sizes, side in zip(blocks, grid, strict=True))
    block_count = prod(sum(size > 0 for size in sizes) for sizes in blocks)
    return prod(grid) * itemsize < SMALLEST_CHUNK_NBYTES and chunk_count > MOST_CHUNKS_PER_BLOCK * block_count


def _regular(length: int, size: int) -> tuple[int, ...]:
    bounds = [*range(0, length, size), length]
    return tuple(stop - start for start, stop in pairwise(bounds))


def _split(grid: Sequence[int], free: Sequence[bool], itemsize: int) -> tuple[int, ...]:
    """Divide the longest sides until a chunk is small enough; `free` sides hold one block and may divide unevenly."""
    sides = list(grid)
    while prod(sides) * itemsize > LARGEST_CHUNK_NBYTES:
        for axis in sorted(range(len(sides)), key=lambda axis: -sides[axis]):
            factor = 2 if free[axis] and sides[axis] > 1 else _small_factor(sides[axis])
            if factor:
                sides[axis] = -(-sides[axis] // factor)
                break
        else:
            break
    return tuple(sides)


def _small_factor(side: int) -> int | None:
    return next((factor for factor in (2, 3, 5, 7) if side > 1 and side % factor == 0), None)
