"""The matrix of the benchmark of streamed products, the vector, and rows of their product by SciPy.

Values are powers of two and few bits wide, so that sums of all rows come out alike in whatever order they are added.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import known
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

import overspill as osp
from overspill.sparse import CSRMatrix

OFFSETS = range(-8, 8)

VALUES = [2.0 ** -abs(offset) for offset in OFFSETS]

ROW_NBYTES = len(OFFSETS) * (8 + 4) + 4
"""Of a row: float64 values, 32-bit columns, and where it ends."""

SAMPLE = 1000
"""Rows at each end of a block that are compared with SciPy's."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many row blocks the matrix has, rows of each, and how often it is multiplied after the first time."""

    blocks: int
    block_rows: int
    repeats: int

    @property
    def rows(self) -> int:
        """Of the matrix; as many columns."""
        return self.blocks * self.block_rows

    def bounds(self, number: int) -> tuple[int, int]:
        """The first row of a block, and the one after its last."""
        return number * self.block_rows, (number + 1) * self.block_rows


def size_of(nbytes: int, block_rows: int, repeats: int) -> Size:
    """A matrix of at least `nbytes` bytes."""
    return Size(max(2, -(-nbytes // (block_rows * ROW_NBYTES)) + 1), block_rows, repeats)


def matrix(size: Size) -> CSRMatrix:
    """The lazy matrix: sixteen diagonals."""
    return osp.sparse.banded(size.rows, list(OFFSETS), VALUES, blocks=size.blocks)


def vector(xp: ModuleType, start: int, stop: int) -> Any:
    """Elements of the vector, from 0 to below 1."""
    return xp.arange(start, stop, dtype=xp.int64) * 40503 % known.LEVELS / known.LEVELS


def expected(size: Size, start: int, stop: int) -> NDArray[Any]:
    """These rows of the product, by SciPy, from diagonals of its own."""
    before, behind = -OFFSETS[0], OFFSETS[-1]
    x = vector(np, start - before, stop + behind)
    x[: max(0, before - start)] = 0
    x[len(x) - max(0, stop + behind - size.rows) :] = 0
    rows = scipy.sparse.diags_array(VALUES, offsets=range(len(VALUES)), shape=(stop - start, len(x)))
    return np.asarray(rows.tocsr() @ x)


def check(size: Size, fetch: Callable[[int, slice], NDArray[Any]]) -> int:
    """Compare rows at both ends of some blocks, which ``fetch(block, rows)`` brings to the host; how many."""
    count = 0
    for number in sorted({0, 1, size.blocks // 2, size.blocks - 1}):
        start, stop = size.bounds(number)
        for first in (start, max(start, stop - SAMPLE)):
            last = min(first + SAMPLE, stop)
            got = fetch(number, slice(first - start, last - start))
            np.testing.assert_allclose(got, expected(size, first, last), rtol=1e-13, err_msg=f"block {number}")
            count += last - first
    return count
