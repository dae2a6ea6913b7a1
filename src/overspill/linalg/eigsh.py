"""Some eigenvalues and eigenvectors of a Hermitian matrix."""

from typing import Any, get_args

from overspill.errors import ArrayError, UsageError
from overspill.linalg import lanczos, lobpcg, place
from overspill.linalg.arguments import system
from overspill.linalg.operators import shape_of
from overspill.linalg.progress import logger
from overspill.linalg.space import Core
from overspill.linalg.spectrum import Which, ordered
from overspill.linalg.start import random_vector

MAXITER = 1000


def eigsh(
    A: Any,
    k: int = 6,
    *,
    which: Which = "LM",
    M: Any = None,
    v0: Any = None,
    ncv: int | None = None,
    maxiter: int | None = None,
    tol: float = 0.0,
    return_eigenvectors: bool = True,
) -> Any:
    """Find `k` eigenvalues and eigenvectors of a Hermitian matrix, as `scipy.sparse.linalg.eigsh` does.

    By thick-restart Lanczos [1]_; with a preconditioner `M` by LOBPCG [2]_ [3]_ whose directions are found by inner
    conjugate gradients, for the smallest eigenvalues, which Lanczos finds slowly or not at all.

    Parameters
    ----------
    A
        Hermitian matrix of shape (n, n): `CSRMatrix`, SciPy matrix or operator, array, `LinearOperator`; it multiplies
        blocks of shape (n, k) too.
    k
        How many, less than n.
    which
        ``"LM"``, ``"SM"`` largest or smallest in magnitude, ``"LA"``, ``"SA"`` largest or smallest algebraically,
        ``"BE"`` half of them from each end.
    M
        Hermitian positive definite preconditioner, an approximate inverse of A (`jacobi`, `block_jacobi`), for
        ``"SA"``, and for ``"SM"`` where A is positive definite. It is no mass matrix, which is what SciPy means by `M`.
    v0
        First vector, of shape (n,); random unless given, the same each time.
    ncv
        Vectors of a Lanczos basis, more than `k`; ``min(n, max(2 * k + 1, 20))`` unless given.
    maxiter
        Restarts of Lanczos, or iterations of LOBPCG; 1000 unless given.
    tol
        Residuals that are asked for, as a share of the eigenvalues. What rounding of the largest eigenvalue leaves is
        the least that can be reached, and what 0 asks for.
    return_eigenvectors
        Whether eigenvectors are wanted.

    Returns
    -------
    w, v
        Eigenvalues, ascending, a NumPy array of shape (k,), and eigenvectors of shape (n, k), orthonormal: a Dask array
        that is computed and kept where A's products are Dask arrays, else a NumPy or CuPy array. Without eigenvectors
        `w` alone, in SciPy's order: by magnitude for LM and SA, by magnitude and descending for SM.

    Raises
    ------
    ConvergenceError
        If not all are found: it has `eigenvalues` and `eigenvectors` of those that were. If A or M makes NaN, if A is
        not Hermitian, or if it is not positive definite where that is asked for.
    ArrayError, DTypeError, UsageError
        For arguments that cannot be used.

    Notes
    -----
    Eigenvalues are as good as those of a dense solver: off by the rounding of the largest eigenvalue. Those that are
    smaller than this, as 10⁻¹⁶ of it, cannot be told from 0.

    References
    ----------
    .. [1] K. Wu, H. Simon, SIAM J. Matrix Anal. Appl. 22, 602 (2000).
    .. [2] A. Knyazev, SIAM J. Sci. Comput. 23, 517 (2001).
    .. [3] J. Duersch, M. Shao, C. Yang, M. Gu, SIAM J. Sci. Comput. 40, C655 (2018).

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> import overspill as osp
    >>> A = scipy.sparse.diags_array(np.arange(1.0, 101.0)).tocsr()
    >>> w, v = osp.linalg.eigsh(A, 2)
    >>> w.round(9)
    array([ 99., 100.])
    >>> osp.linalg.eigsh(A, 2, which="SM", M=osp.linalg.jacobi(A))[0].round(9)
    array([1., 2.])
    """
    n, columns = shape_of("A", A)
    if n != columns:
        raise ArrayError(f"A has shape {(n, columns)}, which is not square: use svds for singular values")
    if not 1 <= k < n:
        raise UsageError(f"eigsh cannot find k={k} of {n} eigenvalues: pass 1 to {n - 1}, or use numpy.linalg.eigh")
    if which not in get_args(Which):
        raise UsageError(f"eigsh knows no which={which!r}: pass one of {', '.join(get_args(Which))}")
    if M is not None and which not in ("SM", "SA"):
        raise UsageError(f"a preconditioner M= is of no use for which={which!r}: leave it out, or pass 'SM' or 'SA'")
    if not 0 <= tol < 1:
        raise UsageError(f"eigsh cannot use tol={tol}: pass a share of the eigenvalues, below 1")
    if maxiter is not None and maxiter < 1:
        raise UsageError(f"eigsh cannot use maxiter={maxiter}: pass 1 or more")
    if ncv is not None and not k < ncv <= n:
        raise UsageError(f"eigsh cannot use ncv={ncv} vectors for k={k} eigenvalues: pass {k + 1} to {n}")
    spare = random_vector(A, n, like=v0)
    problem = system(A, spare if v0 is None else v0, spare, M)
    options: dict[str, Any] = {"k": k, "tol": float(tol), "maxiter": maxiter or MAXITER}
    core: Core
    guards = max(2, k // 4)
    if M is None or n < 5 * (k + guards):  # of so few rows the Lanczos method finds all there is
        core = lanczos.iterate
        basis = min(n, max(2 * k + 1, 20)) if M is None else n
        options |= {"which": which, "ncv": ncv or basis}
    else:
        core = lobpcg.iterate
        options |= {"guards": guards, "definite": which == "SM"}
    vectors = {"v0": problem.b, "spare": problem.x}
    found, spectrum = place.run(core, problem.A, vectors, problem.M, options, name="eigsh")
    logger.info("eigsh: %s at iteration %d", spectrum.reason.what, spectrum.iterations)
    spectrum.demand("eigsh", found)
    return (spectrum.values, found[0]) if return_eigenvectors else ordered(spectrum.values, which)
