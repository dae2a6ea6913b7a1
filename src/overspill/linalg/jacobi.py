"""The Jacobi preconditioner: the inverse of the diagonal."""

from typing import Any

import dask.array as da
import numpy as np
from scipy.sparse import issparse

from overspill import backend
from overspill.errors import ArrayError
from overspill.linalg.arguments import common_dtype
from overspill.linalg.operators import shape_of
from overspill.linalg.preconditioner import Preconditioner, Rule
from overspill.linalg.space import Operator
from overspill.sparse.matrix import CSRMatrix


def jacobi(A: Any) -> Preconditioner:
    """The inverse of the diagonal of `A`, as a preconditioner.

    Parameters
    ----------
    A
        Square matrix whose diagonal has no zeros: a `CSRMatrix`, a SciPy or cupyx sparse matrix, or a NumPy, CuPy or
        Dask array.

    Returns
    -------
    Preconditioner
        For `M` of the solvers; lazy if `A` is.

    Raises
    ------
    ArrayError
        If `A` is not square, has no known diagonal, or, unless it is lazy, a zero or NaN in it.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.array([[4.0, 1.0], [1.0, 2.0]])
    >>> osp.linalg.jacobi(A) @ np.ones(2)
    array([0.25, 0.5 ])
    """
    shape = square("jacobi", A)
    inverse = _inverse(_diagonal(A))
    if not isinstance(inverse, da.Array):
        xp: Any = backend.array_namespace(inverse)
        bad = int(xp.argmin(xp.isfinite(inverse))) if inverse.size else 0
        if inverse.size and not bool(xp.isfinite(inverse[bad])):
            raise ArrayError(f"jacobi cannot invert the diagonal: it is zero or NaN in row {bad}: reorder the rows")
    return Preconditioner(shape, common_dtype(A), None, (inverse,), scaled, _same_everywhere)


def scaled(A: Operator, vectors: tuple[Any, ...], r: Any) -> Any:
    """The rule: `r` times the inverse of the diagonal."""
    return vectors[0] * r if r.ndim == 1 else vectors[0][:, None] * r


def square(name: str, A: Any) -> tuple[int, int]:
    """The shape of `A`, if it is square."""
    shape = shape_of("A", A)
    if shape[0] != shape[1]:
        raise ArrayError(f"{name} preconditions square matrices, and A has shape {shape}: pass a square one")
    return shape


def _same_everywhere(blocks: range) -> Rule:
    return scaled


def _diagonal(A: Any) -> Any:
    if isinstance(A, da.Array):
        return da.diagonal(A).rechunk((A.chunks[0],))
    if isinstance(A, CSRMatrix) or issparse(A) or callable(getattr(A, "diagonal", None)):
        return A.diagonal()
    raise ArrayError(f"jacobi needs a diagonal, which a {type(A).__name__} does not have: use chebyshev, or a matrix")


def _inverse(diagonal: Any) -> Any:
    if isinstance(diagonal, da.Array):
        dtype = common_dtype(diagonal)
        return da.map_blocks(_inverse, diagonal, dtype=dtype, meta=diagonal._meta.astype(dtype))
    with np.errstate(divide="ignore"):
        return (1 / diagonal).astype(common_dtype(diagonal))
