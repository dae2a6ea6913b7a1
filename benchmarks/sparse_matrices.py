"""The matrices that sparse products are timed on, made by CuPy, or by NumPy where they are small."""

from collections.abc import Callable
from typing import Any

import numpy as np

DENSE = 2**22
"""Entries of the one long row, at most."""

RMAT = (0.57, 0.19, 0.19)
"""Graph500's shares of the quadrants, but for the last."""

Arrays = tuple[Any, Any, tuple[int, int]]
"""Row pointers and sorted column indices, both 32 bits, and the shape."""


def banded(xp: Any, nnz: int) -> Arrays:
    """Sixteen next to each other in each row, around the diagonal."""
    n = max(16, nnz // 16)
    first = xp.clip(xp.arange(n, dtype=np.int32) - 8, 0, n - 16)
    return _even(xp, n, first[:, None] + xp.arange(16, dtype=np.int32))


def poisson7(xp: Any, nnz: int) -> Arrays:
    """Neighbours along the axes of a cube, and itself."""
    steps = [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    return _stencil(xp, nnz, steps)


def poisson27(xp: Any, nnz: int) -> Arrays:
    """All neighbours within a cube, and itself."""
    return _stencil(xp, nnz, [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)])


def scattered(xp: Any, nnz: int) -> Arrays:
    """Sixteen in each row, one in each sixteenth of all columns, anywhere there."""
    n = max(16, nnz // 16 // 16 * 16)
    columns = xp.random.default_rng(0).integers(0, n // 16, (n, 16), dtype=np.int32)
    return _even(xp, n, columns + n // 16 * xp.arange(16, dtype=np.int32))


def power_law(xp: Any, nnz: int) -> Arrays:
    """R-MAT, with as many edges as three fifths of `nnz` before those that are there twice are left out."""
    rng, scale = xp.random.default_rng(0), max(4, (nnz // 16).bit_length() - 1)
    edges = nnz * 3 // 5
    rows, columns = (xp.zeros(edges, np.int64) for _ in range(2))
    a, b, c = RMAT
    for _ in range(scale):
        draw = rng.random(edges, dtype=np.float32)
        rows = 2 * rows + (draw >= a + b)
        columns = 2 * columns + (((draw >= a) & (draw < a + b)) | (draw >= a + b + c))
    keys = xp.sort(rows << 32 | columns)
    keys = keys[xp.concatenate([xp.ones(1, bool), keys[1:] != keys[:-1]])]
    lengths = xp.bincount(keys >> 32, minlength=2**scale)
    return _pointers(xp, lengths), (keys & (2**32 - 1)).astype(np.int32), (2**scale, 2**scale)


def dense_row(xp: Any, nnz: int) -> Arrays:
    """Eight around the diagonal, but one row of 4 million, or as many as there are columns."""
    n = max(16, nnz // 8)
    first = xp.clip(xp.arange(n, dtype=np.int32) - 4, 0, n - 8)
    columns = (first[:, None] + xp.arange(8, dtype=np.int32)).reshape(-1)
    middle, long = n // 2, min(n, DENSE)
    lengths = xp.full(n, 8)
    lengths[middle] = long
    spread = (xp.arange(long) * (n // long)).astype(np.int32)
    return _pointers(xp, lengths), xp.concatenate([columns[: 8 * middle], spread, columns[8 * middle + 8 :]]), (n, n)


def short(xp: Any, nnz: int) -> Arrays:
    """One to three in each row, near the diagonal."""
    n = max(16, nnz // 4)
    rows = xp.arange(n, dtype=np.int64)
    return _lengths(xp, n, 1 + rows * 2654435761 % 2**32 % 3)


def empty_rows(xp: Any, nnz: int) -> Arrays:
    """Sixteen near the diagonal in every tenth row, none in the others."""
    n = max(160, nnz // 2)
    return _lengths(xp, n, xp.where(xp.arange(n) % 10 == 3, 16, 0))


MATRICES: dict[str, Callable[[Any, int], Arrays]] = {
    "banded 16": banded,
    "Poisson 7": poisson7,
    "Poisson 27": poisson27,
    "random 16": scattered,
    "power law": power_law,
    "one dense row": dense_row,
    "rows of 1-3": short,
    "90% empty rows": empty_rows,
}


def _pointers(xp: Any, lengths: Any) -> Any:
    return xp.concatenate([xp.zeros(1, np.int64), xp.cumsum(lengths)]).astype(np.int32)


def _even(xp: Any, n: int, columns: Any) -> Arrays:
    """Rows of the same length."""
    length = columns.shape[1]
    return xp.arange(0, n * length + 1, length, dtype=np.int32), columns.reshape(-1), (n, n)


def _lengths(xp: Any, n: int, lengths: Any) -> Arrays:
    """Rows of different lengths, with every third column from the diagonal on, or to the last column."""
    indptr = _pointers(xp, lengths)
    entries = xp.arange(int(indptr[-1]), dtype=np.int32)
    rows = xp.searchsorted(indptr, entries, side="right") - 1
    first = xp.minimum(rows, n - 3 * 16)
    return indptr, (first + 3 * (entries - indptr[rows])).astype(np.int32), (n, n)


def _stencil(xp: Any, nnz: int, steps: list[tuple[int, int, int]]) -> Arrays:
    side = max(3, round((nnz / len(steps)) ** (1 / 3)))
    place = xp.arange(side**3, dtype=np.int32)
    coordinates = place // side**2, place // side % side, place % side
    columns = xp.empty((side**3, len(steps)), np.int32)
    inside = xp.empty(columns.shape, bool)
    for k, step in enumerate(steps):
        columns[:, k] = place + (step[0] * side + step[1]) * side + step[2]
        inside[:, k] = True
        for own, by in zip(coordinates, step, strict=True):
            if by:
                inside[:, k] &= (own + by >= 0) & (own + by < side)
    return _pointers(xp, inside.sum(axis=1)), columns[inside], (side**3, side**3)
