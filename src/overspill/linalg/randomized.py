"""The randomized singular value decomposition: a basis of a random block's image, and what A is within it.

N. Halko, P.-G. Martinsson & J. Tropp, "Finding structure with randomness", SIAM Review 53 (2011),
algorithms 4.4 and 5.1.
"""

from typing import Any

import numpy as np

from overspill.linalg.basis import another, elsewhere, epsilon, orthonormal
from overspill.linalg.space import Operator, Progress, Space
from overspill.linalg.spectrum import Reason, Spectrum, ended_in_words, rounding_of
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
    n_oversamples: int,
    n_iter: int,
    progress: Progress,
) -> tuple[tuple[Any, Any], Spectrum]:
    """Left and right singular vectors, and the largest singular values, ascending: approximations, whatever A is.

    It reads `v0`, the first of ``k + n_oversamples`` random vectors, and `spare` and `spare_left`, right and left
    vectors of random numbers in (-1, 1). See `overspill.linalg.space.Core`.
    """
    start = [v0]
    for _ in range(k + n_oversamples - 1):
        spare = another(space, spare)
        start.append(spare)
    Q = orthonormal(space, A(space.join(*start)))
    for _ in range(n_iter):
        Q = orthonormal(space, A(orthonormal(space, adjoint(Q))))
    Q = _filled(space, Q, k, spare_left)
    (image,) = space.keep(adjoint(Q))
    W = _filled(space, orthonormal(space, image), k, spare)
    P, sigma, R = np.linalg.svd(space.gram(W, image))
    wanted = np.arange(k)[::-1]
    values = sigma[wanted]
    U, V = space.keep(space.combine((Q, R.conj().T[:, wanted])), space.combine((W, P[:, wanted])))
    residuals = residual_norms(space, A, adjoint, U, V, values)
    reason = Reason.CONVERGED if np.isfinite(residuals).all() else Reason.NOT_FINITE
    limits = np.full(k, rounding_of(float(sigma[0]), epsilon(v0)))
    return (U, V), Spectrum(values, residuals, limits, reason, n_iter)


def _filled(space: Space, Q: Any, k: int, spare: Any) -> Any:
    """`Q` with as many orthonormal columns more as it lacks of `k`: A of lower rank leaves them anywhere."""
    while Q.shape[1] < k:
        q, spare = elsewhere(space, (Q,), spare)
        (Q,) = space.keep(space.join(Q, q))
    return Q
