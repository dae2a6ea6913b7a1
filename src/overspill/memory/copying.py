"""Copies between arrays of different memory order: in blocks, through a buffer that stays in cache.

Where one array is written along its rows and the other one read across them, every element comes from another cache
line, and a line is gone before its next element is wanted. A block is therefore read in runs as its source has them,
into a buffer of the same order, and from there, which is the cache, written in the order of its target.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK_NBYTES = 2**18
"""Bytes of a block: it, the buffer and what else is done to it fit the second-level cache of a core."""

ROW = 512
"""Elements that a block has along the last axis if it can, so that little is spent on starting anew in each row."""

LINE_NBYTES = 64
"""What rows of the buffer are longer than their elements, lest those of a power of two share few lines of the cache."""

MOST_LINES = 1536
"""Lines that a core keeps at hand, each of them from another page of memory."""

PAGE_NBYTES = 4096
"""Lines so far apart, or a multiple of it, share few places of the cache."""


def copy(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Make `target`, in C order or a part of an array that is, equal to `source`, cast within its kind.

    Examples
    --------
    >>> x, y = np.arange(6).reshape(2, 3), np.empty((3, 2), int)
    >>> copy(y, x.T)
    >>> y
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    if not (axes := crossing_axes([target, source])):
        np.copyto(target, source)
        return
    sizes = block_shape(target.shape, axes, max(1, BLOCK_NBYTES // target.dtype.itemsize))
    buffer = buffer_like(source, sizes, target.dtype)
    for block in cut(target.shape, sizes):
        gather(target[block], source[block], buffer)


def crossing_axes(arrays: Sequence[NDArray[Any]]) -> tuple[int, ...]:
    """The axes along which neighbours lie in `arrays`, all of one shape, or none where it may be walked row by row.

    That is where their orders agree, or where the lines of what is read across rows stay in cache for the next row.
    Arrays that repeat elements count for nothing: they are small.

    Examples
    --------
    >>> x = np.ones((2000, 3000))
    >>> crossing_axes([x, x[::-1]]), crossing_axes([x, np.ones((3000, 2000)).T])
    ((), (0, 1))
    """
    found = {axis for x in arrays if (axis := fastest_axis(x)) is not None}
    return tuple(sorted(found)) if len(found) > 1 and any(map(_strays, arrays)) else ()


def _strays(x: NDArray[Any]) -> bool:
    """Whether `x`, walked row by row, has lost a line by the time it wants the next element of it."""
    if (axis := fastest_axis(x)) is None:
        return False
    lines = math.prod(x.shape[axis + 1 :])
    return lines > MOST_LINES or (lines > 1 and x.strides[-1] % PAGE_NBYTES == 0)


def fastest_axis(x: NDArray[Any]) -> int | None:
    """The axis along which neighbours lie closest; None where none have, or where elements are repeated."""
    steps = [(abs(x.strides[axis]), -axis) for axis in range(x.ndim) if x.shape[axis] > 1]
    if not x.size or not steps or min(steps)[0] == 0:
        return None
    return -min(steps)[1]


def block_shape(shape: tuple[int, ...], axes: Sequence[int], count: int) -> tuple[int, ...]:
    """The shape of blocks of at most `count` elements, long along the last axis and along all of `axes`.

    Examples
    --------
    >>> block_shape((4000, 4000), (0, 1), 2**15), block_shape((4000, 30), (0, 1), 2**15)
    ((64, 512), (1088, 30))
    """
    last = len(shape) - 1
    others = [axis for axis in axes if axis != last]
    run = max(1, int((count // ROW) ** (1 / max(1, len(others)))))
    sizes = [1] * len(shape)
    for axis in others:
        sizes[axis] = min(shape[axis], run)
    sizes[last] = min(shape[last], ROW, count)
    for axis in reversed(range(len(shape))):
        sizes[axis] = min(shape[axis], sizes[axis] * (count // math.prod(sizes)))
    return tuple(sizes)


def cut(shape: tuple[int, ...], sizes: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Blocks of the shape `sizes`, less at the ends, that cover `shape`."""
    starts = (range(0, extent, size) for extent, size in zip(shape, sizes, strict=True))
    for corner in product(*starts):
        yield tuple(slice(start, start + size) for start, size in zip(corner, sizes, strict=True))


def buffer_like(source: NDArray[Any], sizes: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Room for a block of the shape `sizes`, in the memory order of `source`."""
    dtype = np.dtype(dtype)
    order = sorted(range(source.ndim), key=lambda axis: abs(source.strides[axis]), reverse=True)
    room = [sizes[axis] for axis in order]
    room[-1] += max(1, LINE_NBYTES // dtype.itemsize)
    return np.empty(room, dtype).transpose(np.argsort(order))


def gather(target: NDArray[Any], source: NDArray[Any], buffer: NDArray[Any]) -> None:
    """Make `target` equal to `source` by way of `buffer`, which has room for a block in the order of `source`."""
    held = buffer[tuple(slice(size) for size in source.shape)]
    np.copyto(held, source)
    np.copyto(target, held)
