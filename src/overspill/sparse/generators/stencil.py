"""Row blocks of matrices whose every row is the same stencil on a grid, cut off at the grid's edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np

from overspill.kernels import csr_residence
from overspill.sparse.block import Block
from overspill.sparse.generators.chunks import even_rows
from overspill.sparse.generators.units import pattern, spans, units
from overspill.sparse.matrix import CSRMatrix, of_function
from overspill.sparse.partition import block_count

PATTERNS = 32
"""How many patterns are remembered: more than there are, but for many offsets on a line, whose never come back."""


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


def rows_of(stencil: Stencil, start: int, stop: int, block: Block, dtype: np.dtype[Any]) -> Any:
    """The rows from `start` to `stop`, columns counted from the window of `block`."""
    assert block.nnz is not None  # stencils are counted in advance
    index = csr_residence.index_dtype(block.nnz, block.width)
    indptr = np.zeros(block.rows + 1, index)
    indices, data = np.empty(block.nnz, index), np.empty(block.nnz, dtype)
    distances = np.array(stencil.distances(), np.int64)
    order = np.argsort(distances, kind="stable")
    offsets = np.array(stencil.offsets, np.int64).reshape(-1, len(stencil.shape))[order]
    values = np.array(stencil.values)[order].astype(dtype)
    pattern_of = lru_cache(PATTERNS)(partial(pattern, distances[order], values, index))
    filled = 0
    for unit in units(stencil.shape, start, stop, len(offsets)):
        found = pattern_of(unit.lengths, spans(unit, stencil.shape, offsets))
        first, last = max(start - unit.first, 0), min(stop - unit.first, unit.rows)
        wanted = slice(int(found.indptr[first]), int(found.indptr[last]))
        part = slice(filled, filled + wanted.stop - wanted.start)
        # Fixed-size integers wrap round, so that a sum is right where it fits, whatever its terms are.
        shift = np.array(unit.first - block.columns[0]).astype(index)
        np.add(found.columns[wanted], shift, out=indices[part])
        data[part] = found.values[wanted]
        ends = indptr[unit.first + first - start + 1 : unit.first + last - start + 1]
        np.add(found.indptr[first + 1 : last + 1], filled - wanted.start, out=ends)
        filled = part.stop
    return csr_residence.make(data, indices, indptr, block.width)


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
