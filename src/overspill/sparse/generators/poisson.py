"""Poisson's equation on a grid: the matrix that solvers are measured on."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from overspill.errors import UsageError
from overspill.sparse.generators.stencil import Stencil, stencil_matrix
from overspill.sparse.matrix import CSRMatrix

AXES_OF = {3: 1, 5: 2, 9: 2, 7: 3, 27: 3}
"""Axes of the grid for each number of points."""


def poisson(
    shape: Sequence[int], stencil: int | None = None, *, dtype: Any = np.float64, blocks: int | None = None
) -> CSRMatrix:
    """The negative Laplace operator on a grid of one to three axes, zero beyond its edges; symmetric positive definite.

    Parameters
    ----------
    shape
        Points of the grid along each axis. Point (i, j, k) is row ``(i * shape[1] + j) * shape[2] + k``.
    stencil
        Points that an entry connects: 3 on a line; 5 or 9 in a plane; 7 or 27 in space. 3, 5 and 7, the defaults,
        are a point and its next ones along each axis; 9 and 27 those next to it across corners too.
    dtype
        Of the entries.
    blocks
        How many row blocks to make; about one for each 256 MiB unless given.

    Returns
    -------
    CSRMatrix
        Lazy; the number of stored entries is known. The diagonal is `stencil` - 1, everything else -1: so
        ``h**2`` times the operator for a spacing h with 3, 5 and 7 points, HPCG's matrix with 27.

    Raises
    ------
    UsageError
        If `shape` and `stencil` do not go together.

    Examples
    --------
    >>> poisson((2, 2)).to_scipy().toarray()
    array([[ 4., -1., -1.,  0.],
           [-1.,  4.,  0., -1.],
           [-1.,  0.,  4., -1.],
           [ 0., -1., -1.,  4.]])
    >>> poisson((100, 100, 100), 27).nnz
    26463592
    """
    sides = tuple(int(side) for side in shape)
    points = 2 * len(sides) + 1 if stencil is None else stencil
    if AXES_OF.get(points) != len(sides) or min(sides) < 0:
        raise UsageError(
            f"shape={sides} and stencil={stencil} do not go together: 3 points take one axis, 5 or 9 two, 7 or 27 three"
        )
    offsets = tuple(
        offset
        for offset in product((-1, 0, 1), repeat=len(sides))
        if points > 2 * len(sides) + 1 or np.count_nonzero(offset) <= 1
    )
    values = tuple(-1.0 if any(offset) else points - 1.0 for offset in offsets)
    return stencil_matrix(Stencil(sides, offsets, values), name="poisson", dtype=dtype, blocks=blocks)
