"""The thick-restart Lanczos method, for eigenvalues at the outside of a Hermitian matrix's spectrum.

K. Wu & H. Simon, "Thick-restart Lanczos method for large symmetric eigenvalue problems", SIAM J. Matrix Anal. Appl. 22
(2000), with full orthogonalisation: the projected matrix is that of the coefficients it finds.
"""

from typing import Any

import numpy as np

from overspill.linalg.basis import appended, combined, elsewhere, epsilon, extended, normalised, symmetric, width
from overspill.linalg.space import Operator, Progress, Space
from overspill.linalg.spectrum import (
    EndedError,
    Reason,
    Spectrum,
    Which,
    ended_in_words,
    judged,
    kept_at_restart,
    residual_norms,
    rounding_of,
    select,
    settled,
)


@ended_in_words
def iterate(
    space: Space,
    A: Operator,
    M: Operator,
    *,
    v0: Any,
    spare: Any,
    k: int,
    which: Which,
    ncv: int,
    tol: float,
    maxiter: int,
    progress: Progress,
) -> tuple[tuple[Any], Spectrum]:
    """The iteration; reads `v0`, the first vector, and `spare`, of random numbers in (-1, 1). `M` has no part in it.

    Bases of up to `ncv` vectors are built and cut down again, `maxiter` times at most. See
    `overspill.linalg.space.Core`.
    """
    v, norm = normalised(space, v0)
    if norm == 0:
        v, _ = normalised(space, spare)
    V: tuple[Any, ...] = (v,)
    T = np.zeros((ncv, ncv), np.result_type(v0.dtype, np.float64))
    found, beta = None, 0.0
    for restart in range(1, maxiter + 1):
        first = width(V) - 1
        for j in range(first, ncv):
            before = beta
            v, T[: j + 1, j], beta = extended(space, V, A(v[:, 0]))
            if j > first and abs(T[j - 1, j] - before) > epsilon(v0) ** 0.5 * np.abs(T).max():
                raise EndedError(Reason.NOT_HERMITIAN)
            T[j, :j] = T[:j, j].conj()
            if j + 1 < ncv:
                if beta == 0:  # the basis spans an invariant subspace: what else there is lies elsewhere
                    v, spare = elsewhere(space, V, spare)
                V = appended(space, V, v)
        theta, S = np.linalg.eigh(symmetric(T))
        rounding = rounding_of(float(np.abs(theta).max()), epsilon(v0))
        wanted = select(theta, k, which)
        values, limits = theta[wanted], np.maximum(tol * np.abs(theta[wanted]), rounding)
        estimates = beta * np.abs(S[-1, wanted])
        converged = int((estimates <= limits).sum())
        again = converged == k
        if again:
            if settled(values, found, limits, rounding):
                break
            found = values
        if restart == maxiter:
            break
        progress(restart, float(estimates.max()), v0=combined(space, V, S[:, wanted].sum(axis=1, keepdims=True))[:, 0])
        # A start finds one vector of an eigenvalue that has many: so all begins anew beside what is found, until
        # nothing is new there.
        kept = wanted if again else select(theta, kept_at_restart(k, converged, ncv), which)
        V = space.keep(combined(space, V, S[:, kept]))
        T = np.diag(np.pad(theta[kept], (0, ncv - len(kept)))).astype(T.dtype)
        if again or beta == 0:
            v, spare = elsewhere(space, V, spare)
        V = (*V, v)
    (X,) = space.keep(combined(space, V, S[:, wanted]))
    residuals = residual_norms(space, A, X, values)
    reason = judged(residuals, limits, rounding) if converged == k else Reason.MAXITER
    return (X,), Spectrum(values, residuals, limits, reason, restart)
