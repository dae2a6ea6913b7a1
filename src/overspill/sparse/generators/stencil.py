"""Row blocks of matrices whose every row is the same stencil on a grid, cut off at the grid's edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from overspill.sparse.block import Block
from overspill.sparse.generators.chunks import even_rows
from overspill.sparse.matrix import CSRMatrix, of_function
from overspill.sparse.partition import block_count

STRIP_ROWS = 2**15
"""Rows that are made at once: what it takes besides the block then stays in the core's cache."""


@dataclass(frozen=True, slots=True)
class Stencil:
    """What a row has entries for: the points of a grid that lie at `offsets` from its own.

    Attributes
    ----------
    shape
        Points of the grid along each axis; they are numbered in C order.
    offsets
        Steps along each axis.
    values
        The entry for each of `offsets`.
    """

    shape: tuple[int, ...]
    offsets: tuple[tuple[int, ...], ...]
    values: tuple[complex, ...]

    @property
    def size(self) -> int:
        """Points of the grid."""
        return prod(self.shape)

    def distances(self) -> list[int]:
        """How far each of `offsets` lies from a row's own column."""
        strides = [prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        return [sum(step * stride for step, stride in zip(offset, strides, strict=True)) for offset in self.offsets]


def stencil_matrix(stencil: Stencil, *, name: str, dtype: Any, blocks: int | None) -> CSRMatrix:
    """The square matrix of `stencil`, its rows cut evenly into `blocks`, about one for each 256 MiB unless given."""
    dtype = np.dtype(dtype)
    size = stencil.size
    nnz = entries_before(stencil, size)
    distances = stencil.distances()
    described, arguments = [], []
    for rows in even_rows(size, block_count(blocks, nnz, dtype.itemsize)):
        count = entries_before(stencil, rows.stop) - entries_before(stencil, rows.start)
        window = (max(0, rows.start + min(distances)), min(size, rows.stop + max(distances))) if count else (0, 0)
        block = Block(len(rows), window, count)
        described.append(block)
        arguments.append((stencil, rows.start, rows.stop, block, dtype))
    return of_function(rows_of, arguments, name=name, shape=(size, size), dtype=dtype, blocks=described)


def entries_before(stencil: Stencil, row: int) -> int:
    """Entries in all rows before `row`.

    Examples
    --------
    >>> entries_before(Stencil((4,), ((-1,), (0,), (1,)), (-1, 2, -1)), 4)
    10
    """
    return sum(
        _points_before(
            stencil.shape,
            [range(max(0, -step), min(side, side - step)) for step, side in zip(offset, stencil.shape, strict=True)],
            row,
        )
        for offset in stencil.offsets
    )


def rows_of(stencil: Stencil, start: int, stop: int, block: Block, dtype: np.dtype[Any]) -> csr_array:
    """The rows from `start` to `stop`, columns counted from the window of `block`."""
    assert block.nnz is not None  # stencils are counted in advance
    index = np.int32 if max(block.nnz, block.width) <= np.iinfo(np.int32).max else np.int64
    indptr = np.zeros(block.rows + 1, index)
    indices, data = np.empty(block.nnz, index), np.empty(block.nnz, dtype)
    order = np.argsort(stencil.distances(), kind="stable")
    distances = np.array(stencil.distances(), np.int64)[order]
    offsets = np.array(stencil.offsets, np.int64).reshape(-1, len(stencil.shape))[order]
    values = np.array(stencil.values)[order].astype(dtype)
    filled = 0
    for first in range(start, stop, STRIP_ROWS):
        rows = np.arange(first, min(first + STRIP_ROWS, stop))
        inside = _inside(np.unravel_index(rows, stencil.shape), stencil.shape, offsets)
        counts = np.cumsum(np.count_nonzero(inside, axis=1))
        part = slice(filled, filled + int(counts[-1]))
        indices[part] = ((rows - block.columns[0])[:, np.newaxis] + distances)[inside]
        data[part] = np.broadcast_to(values, inside.shape)[inside]
        indptr[first - start + 1 : first - start + 1 + len(rows)] = counts + filled
        filled = part.stop
    return csr_array((data, indices, indptr), shape=block.shape)


def _inside(points: Sequence[NDArray[np.int64]], shape: tuple[int, ...], offsets: NDArray[np.int64]) -> NDArray[Any]:
    """Whether the neighbour of each point at each of `offsets` lies in the grid: of shape (points, offsets)."""
    inside = np.ones((len(points[0]), len(offsets)), bool)
    for at, side, steps in zip(points, shape, offsets.T, strict=True):
        for step in set(steps.tolist()) - {0}:
            fits = (at + step >= 0) & (at + step < side)
            inside[:, steps == step] &= fits[:, np.newaxis]
    return inside


def _points_before(shape: Sequence[int], box: Sequence[range], number: int) -> int:
    """How many points of `box` come before point `number` of a grid of `shape`, in C order."""
    count = 0
    for axis, side in enumerate(shape):
        below = prod(shape[axis + 1 :])
        at = min(number // below, side) if below else 0
        inner = prod(len(rest) for rest in box[axis + 1 :])
        count += len(range(box[axis].start, min(at, box[axis].stop))) * inner
        if at not in box[axis]:
            break
        number -= at * below
    return count
