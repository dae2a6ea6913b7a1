"""Golub-Kahan-Lanczos bidiagonalisation with thick restart, for the singular values at the ends of the spectrum.

J. Baglama & L. Reichel, "Augmented implicitly restarted Lanczos bidiagonalization methods", SIAM J. Sci. Comput. 27
(2005); V. Hernández, J. Román & A. Tomás, "A robust and efficient parallel SVD solver based on restarted Lanczos
bidiagonalization", ETNA 31 (2008). Both bases are orthogonalised in full.
"""

from typing import Any, Literal

import numpy as np

from overspill.linalg.basis import appended, combined, elsewhere, epsilon, extended, normalised, width
from overspill.linalg.space import Operator, Progress, Space
from overspill.linalg.spectrum import (
    EndedError,
    Reason,
    Spectrum,
    ended_in_words,
    judged,
    kept_at_restart,
    rounding_of,
    settled,
)
from overspill.linalg.triplets import residual_norms


@ended_in_words
def iterate(
    space: Space,
    A: Operator,
    adjoint: Operator,
    *,
    v0: Any,
    spare: Any,
    spare_left: Any,
    k: int,
    which: Literal["LM", "SM"],
    ncv: int,
    tol: float,
    maxiter: int,
    progress: Progress,
) -> tuple[tuple[Any, Any], Spectrum]:
    """The iteration: left and right singular vectors, and the singular values, ascending.

    It reads `v0`, the first right vector, and `spare` and `spare_left`, right and left vectors of random numbers in
    (-1, 1). `A` has no more columns than rows; bases of up to `ncv` vectors are built and cut down again, `maxiter`
    times at most. See `overspill.linalg.space.Core`.
    """
    v, norm = normalised(space, v0)
    if norm == 0:
        v, _ = normalised(space, spare)
    U: tuple[Any, ...] = ()
    V: tuple[Any, ...] = (v,)
    B = np.zeros((ncv, ncv), np.result_type(v0.dtype, np.float64))
    found = None
    for restart in range(1, maxiter + 1):
        for j in range(width(U), ncv):
            u, B[:j, j], alpha = extended(space, U, A(v[:, 0]))
            B[j, j] = alpha
            if alpha == 0:  # A V lies in the span of U: whatever else is there has no part in it
                u, spare_left = elsewhere(space, U, spare_left)
            U = appended(space, U, u)
            v, row, beta = extended(space, V, adjoint(u[:, 0]))
            if abs(row[j] - alpha) > epsilon(v0) ** 0.5 * np.abs(B).max():
                raise EndedError(Reason.NOT_ADJOINT)
            if j + 1 < ncv:
                if beta == 0:
                    v, spare = elsewhere(space, V, spare)
                V = appended(space, V, v)
        P, sigma, Q = np.linalg.svd(B)
        Q = Q.conj().T
        rounding = rounding_of(float(sigma[0]), epsilon(v0))
        best = np.arange(ncv) if which == "LM" else np.arange(ncv)[::-1]
        wanted = np.sort(best[:k])[::-1]
        values, limits = sigma[wanted], np.maximum(tol * sigma[wanted], rounding)
        estimates = beta * np.abs(P[-1, wanted])
        converged = int((estimates <= limits).sum())
        again = converged == k
        if again:
            if settled(values, found, limits, rounding):
                break
            found = values
        if restart == maxiter:
            break
        progress(restart, float(estimates.max()), v0=combined(space, V, Q[:, wanted].sum(axis=1, keepdims=True))[:, 0])
        # As in Lanczos' method: what is found is kept, and all begins anew beside it, until nothing is new there.
        kept = wanted if again else best[: kept_at_restart(k, converged, ncv)]
        V, U = ((block,) for block in space.keep(combined(space, V, Q[:, kept]), combined(space, U, P[:, kept])))
        B = np.diag(np.pad(sigma[kept], (0, ncv - len(kept)))).astype(B.dtype)
        if again or beta == 0:
            v, spare = elsewhere(space, V, spare)
        V = (*V, v)
    X, Y = space.keep(combined(space, U, P[:, wanted]), combined(space, V, Q[:, wanted]))
    residuals = residual_norms(space, A, adjoint, X, Y, values)
    reason = judged(residuals, limits, rounding, Reason.NOT_ADJOINT) if converged == k else Reason.MAXITER
    return (X, Y), Spectrum(values, residuals, limits, reason, restart)
