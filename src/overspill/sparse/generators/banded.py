"""Matrices of a few constant diagonals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from overspill.errors import UsageError
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
        What stands on each; unless given, -1, and on the main diagonal the number of the others, so that the matrix is
        positive definite where the band is symmetric.
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
        If offsets repeat, or there are not as many values.

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
    diagonals = tuple(range(-offsets, offsets + 1)) if isinstance(offsets, int) else tuple(map(int, offsets))
    others = sum(offset != 0 for offset in diagonals)
    given = [-1.0 if offset else float(others) for offset in diagonals] if values is None else values
    constants: tuple[complex, ...] = tuple(given)
    if len(set(diagonals)) != len(diagonals) or len(constants) != len(diagonals):
        raise UsageError(f"offsets={offsets} with values={values}: name each diagonal once, with one value for each")
    within = [(offset, value) for offset, value in zip(diagonals, constants, strict=True) if abs(offset) < n]
    stencil = Stencil((n,), tuple((offset,) for offset, _ in within), tuple(value for _, value in within))
    return stencil_matrix(stencil, name="banded", dtype=dtype, blocks=blocks)
