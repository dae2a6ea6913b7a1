"""Some singular values and vectors of a matrix of any shape."""

from typing import Any, Literal

import dask.array as da
import numpy as np
from scipy.sparse import issparse

from overspill.errors import ArrayError, UsageError
from overspill.linalg import bidiagonal, randomized, spreading
from overspill.linalg.arguments import as_vector, common_dtype
from overspill.linalg.graphs import Graphs
from overspill.linalg.operators import Product, is_lazy, shape_of
from overspill.linalg.progress import Report, logger
from overspill.linalg.space import Core, InMemory, Space
from overspill.linalg.start import random_vector
from overspill.sparse.matrix import CSRMatrix

MAXITER = 1000


def svds(
    A: Any,
    k: int = 6,
    *,
    ncv: int | None = None,
    tol: float = 0.0,
    which: Literal["LM", "SM"] = "LM",
    v0: Any = None,
    maxiter: int | None = None,
    return_singular_vectors: bool | Literal["u", "vh"] = True,
    solver: Literal["lanczos", "randomized"] = "lanczos",
    n_oversamples: int = 10,
    n_iter: int = 4,
) -> Any:
    """Find `k` singular values and vectors, as `scipy.sparse.linalg.svds` does.

    By thick-restart Lanczos bidiagonalisation [1]_ [2]_, or approximately, in ``2 * n_iter + 4`` products with blocks,
    by the randomized method [3]_.

    Parameters
    ----------
    A
        Matrix of shape (m, n): `CSRMatrix`, SciPy matrix or operator, array, or a `LinearOperator` that knows its
        adjoint.
    k
        How many, at most ``min(m, n) - 1``.
    ncv
        Vectors of a Lanczos basis, more than `k`; ``min(m, n, max(2 * k + 1, 20))`` unless given.
    tol
        Residuals that are asked of Lanczos, as a share of the singular values; 0 for what rounding leaves.
    which
        ``"LM"`` the largest, ``"SM"`` the smallest, which take many more iterations.
    v0
        First vector, of shape (n,), or (m,) if m < n; random unless given, the same each time.
    maxiter
        Restarts of Lanczos; 1000 unless given.
    return_singular_vectors
        Whether vectors are wanted, or only ``"u"`` or ``"vh"``: then the other is None.
    solver
        ``"lanczos"``, or ``"randomized"`` for the largest.
    n_oversamples
        Random vectors beside the `k` of the randomized method.
    n_iter
        Its power iterations: more of them make it more precise where singular values fall slowly.

    Returns
    -------
    u, s, vh
        Left singular vectors (m, k), singular values (k,), ascending, and right singular vectors (k, n): Dask arrays
        that are computed and kept where A's products are Dask arrays, else NumPy or CuPy arrays; `s` is a NumPy array.
        Without vectors `s` alone.

    Raises
    ------
    ConvergenceError
        If not all are found, or A makes NaN.
    ArrayError, DTypeError, UsageError
        For arguments that cannot be used.

    References
    ----------
    .. [1] J. Baglama, L. Reichel, SIAM J. Sci. Comput. 27, 19 (2005).
    .. [2] V. Hernández, J. Román, A. Tomás, ETNA 31, 68 (2008).
    .. [3] N. Halko, P.-G. Martinsson, J. Tropp, SIAM Review 53, 217 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.diag(np.arange(1.0, 51.0))[:, :40]
    >>> u, s, vh = osp.linalg.svds(A, 3)
    >>> s.round(9)
    array([38., 39., 40.])
    """
    shape = shape_of("A", A)
    _check(shape, k, ncv, tol, which, maxiter, solver, n_oversamples, n_iter)
    if isinstance(A, CSRMatrix):
        A = A.persist()  # or each product would make its blocks anew; what does not fit is spilled
    operators = Product(A), Product(_adjoint(A))
    if shape[0] < shape[1]:
        operators = operators[::-1]
    vectors = _vectors(A, operators, v0)
    options: dict[str, Any]
    core: Core
    if solver == "lanczos":
        basis = ncv or min(*shape, max(2 * k + 1, 20))
        core = bidiagonal.iterate
        options = {"which": which, "ncv": basis, "tol": float(tol), "maxiter": maxiter or MAXITER}
    else:
        core, options = randomized.iterate, {"n_oversamples": n_oversamples, "n_iter": n_iter}
        options["n_oversamples"] = min(n_oversamples, min(shape) - k)
    space: Space = Graphs() if isinstance(vectors["v0"], da.Array) else InMemory()
    report = Report("svds", None, spreading.client())
    vectors = dict(zip(vectors, space.keep(*vectors.values()), strict=True))
    found, spectrum = core(space, *operators, k=k, progress=report, **vectors, **options)
    logger.info("svds: %s at iteration %d", spectrum.reason.what, spectrum.iterations)
    spectrum.demand("svds", found)
    U, V = found[::-1] if shape[0] < shape[1] else found
    if return_singular_vectors is False:
        return spectrum.values
    left = U if return_singular_vectors in (True, "u") else None
    right = V.conj().T if return_singular_vectors in (True, "vh") else None
    return left, spectrum.values, right


def _adjoint(A: Any) -> Any:
    """The conjugate transpose of what can be multiplied with vectors."""
    if hasattr(A, "H") and not issparse(A):
        return A.H
    if hasattr(A, "T"):
        return A.conj().T if np.dtype(A.dtype).kind == "c" else A.T
    raise ArrayError(
        f"svds needs products with the adjoint of A, which {type(A).__name__} does not have: pass an "
        f"overspill.linalg.LinearOperator with rmatvec="
    )


def _vectors(A: Any, operators: tuple[Product, Product], v0: Any) -> dict[str, Any]:
    """The vectors to begin with: on the right `v0` and a random one, on the left a random one, cut as products are."""
    operator, adjoint = operators
    m, n = operator.A.shape
    if v0 is not None and v0.shape != (n,):
        raise ArrayError(f"v0 has shape {v0.shape}, but the shorter side of A is {n}: pass shape ({n},)")
    left, right = (random_vector(A, size, like=v0) for size in (m, n))
    dtype = common_dtype(*(x for x in (A, right, v0) if x is not None))
    rows = columns = None
    if is_lazy(A) or isinstance(v0, da.Array):
        # What products make of vectors cut anyhow tells how they are to be cut; nothing is computed.
        columns = adjoint(as_vector(left, dtype, left.chunks[0], A)).chunks[0]
        rows = operator(as_vector(right, dtype, columns, A)).chunks[0]
    right = as_vector(right, dtype, columns, A)
    first = right if v0 is None else as_vector(v0, dtype, columns, A)
    return {"v0": first, "spare": right, "spare_left": as_vector(left, dtype, rows, A)}


def _check(
    shape: tuple[int, int],
    k: int,
    ncv: int | None,
    tol: float,
    which: str,
    maxiter: int | None,
    solver: str,
    n_oversamples: int,
    n_iter: int,
) -> None:
    n = min(shape)
    if not 1 <= k < n:
        raise UsageError(f"svds cannot find k={k} of {n} singular values: pass 1 to {n - 1}, or use numpy.linalg.svd")
    if which not in ("LM", "SM"):
        raise UsageError(f"svds knows no which={which!r}: pass 'LM' or 'SM'")
    if solver not in ("lanczos", "randomized"):
        raise UsageError(f"svds knows no solver={solver!r}: pass 'lanczos' or 'randomized'")
    if solver == "randomized" and which == "SM":
        raise UsageError("the randomized method finds the largest singular values only: pass solver='lanczos'")
    if ncv is not None and not k < ncv <= n:
        raise UsageError(f"svds cannot use ncv={ncv} vectors for k={k} singular values: pass {k + 1} to {n}")
    if not 0 <= tol < 1:
        raise UsageError(f"svds cannot use tol={tol}: pass a share of the singular values, below 1")
    if maxiter is not None and maxiter < 1:
        raise UsageError(f"svds cannot use maxiter={maxiter}: pass 1 or more")
    if n_oversamples < 0 or n_iter < 0:
        raise UsageError(f"svds cannot use n_oversamples={n_oversamples}, n_iter={n_iter}: pass 0 or more")
