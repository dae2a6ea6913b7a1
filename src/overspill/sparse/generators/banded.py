"""Matrices of a few constant diagonals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from overspill.errors import DTypeError, UsageError
from overspill.sparse.generators.stencil import Stencil, stencil_matrix
from overspill.sparse.matrix import CSRMatrix


def banded(
    n: int,
    offsets: int | Sequence[int],
    values: Sequence[complex] | None = None,
    *,
    dtype: Any = np.float64,
    blocks: int | None = None,
) -> CSRMatrix:
    """The square matrix with a constant on each of a few diagonals, as `scipy.sparse.diags_array` makes it in memory.

    Parameters
    ----------
    n
        Rows and columns.
    offsets
        Which diagonals: 0 the main one, positive ones above it; or one number, the half-width of a full band.
    values
        What stands on each, of a full band from the lowest up; unless given, -1, and on the main diagonal the number
        of the others, so that the matrix is positive definite where the band is symmetric.
    dtype
        Of the entries.
    blocks
        How many row blocks to make; about one for each 256 MiB unless given.

    Returns
    -------
    CSRMatrix
        Lazy; the number of stored entries is known.

    Raises
    ------
    UsageError
        If `n` or the half-width is negative, offsets repeat, or there are not as many values.
    DTypeError
        If values are complex and `dtype` is not.

    Examples
    --------
    >>> banded(3, 1).to_scipy().toarray()
    array([[ 2., -1.,  0.],
           [-1.,  2., -1.],
           [ 0., -1.,  2.]])
    >>> banded(3, (0, 2), (5, 1)).to_scipy().toarray()
    array([[5., 0., 1.],
           [0., 5., 0.],
           [0., 0., 5.]])
    """
    if isinstance(offsets, int | np.integer) and offsets < 0:
        raise UsageError(f"offsets={offsets} is no half-width: pass 0 or more, or [{offsets}] for that diagonal")
    if n < 0:
        raise UsageError(f"n={n} is no number of rows: pass 0 or more")
    band = range(-int(offsets), int(offsets) + 1) if isinstance(offsets, int | np.integer) else offsets
    diagonals = tuple(map(int, band))
    others = sum(offset != 0 for offset in diagonals)
    given = [-1.0 if offset else float(others) for offset in diagonals] if values is None else values
    constants: tuple[complex, ...] = tuple(given)
    if len(set(diagonals)) != len(diagonals) or len(constants) != len(diagonals):
        raise UsageError(f"offsets={offsets} with values={values}: name each diagonal once, with one value for each")
    if np.iscomplexobj(constants) and np.dtype(dtype).kind != "c":
        raise DTypeError(f"values={values} are complex, {np.dtype(dtype)} is not: pass dtype=complex")
    within = [(offset, value) for offset, value in zip(diagonals, constants, strict=True) if abs(offset) < n]
    stencil = Stencil((n,), tuple((offset,) for offset, _ in within), tuple(value for _, value in within))
    return stencil_matrix(stencil, name="banded", dtype=dtype, blocks=blocks)
