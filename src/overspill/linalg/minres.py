"""The minimal residual method, for Hermitian matrices that need not be definite."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from overspill.linalg import linear, rounds
from overspill.linalg.outcome import Ending, Outcome
from overspill.linalg.space import Operator, Progress, Space


def minres(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    rtol: float = 1e-5,
    atol: float = 0.0,
    shift: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Solve ``(A - shift I) x = b`` for Hermitian, perhaps indefinite or singular, `A` by the minimal residual method.

    One product and two reductions an iteration. Runs where `cg` does.

    Parameters
    ----------
    A, b, x0, callback
        As of `cg`, but that `A` need not be definite.
    rtol, atol
        As of `cg`. SciPy's compares with ``norm(A) * norm(x)`` instead, which is less strict.
    shift
        Real number taken from the diagonal.
    maxiter
        Most iterations; ``5 * n`` by default.
    M
        Approximate inverse of `A`, Hermitian positive definite, of the same kinds.

    Returns
    -------
    x, info
        As of `cg`. Where `b` is not in the range of `A`, `x` is a least-squares solution, which a `ConvergenceWarning`
        names, and `info` the number of iterations.

    Raises
    ------
    ArrayError, DTypeError, UsageError
        As `cg` does.

    Notes
    -----
    Paige and Saunders' method [1]_, with a recurrence for the residual, so that its norm is known with `M` too.

    References
    ----------
    .. [1] C. C. Paige, M. A. Saunders, "Solution of sparse indefinite systems of linear equations", SIAM Journal on
       Numerical Analysis 12 (1975), 617-629.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.array([[0.0, 2.0], [2.0, 0.0]])
    >>> osp.linalg.minres(A, np.array([2.0, 4.0]), rtol=1e-10)
    (array([2., 1.]), 0)
    """
    return linear.solve(
        "minres",
        iterate,
        A,
        b,
        x0,
        M,
        rtol=rtol,
        atol=atol,
        maxiter=maxiter,
        maxiter_a_row=5,
        observer=linear.of_x(callback),
        shift=float(shift),
    )


def iterate(
    space: Space, A: Operator, M: Operator, *, maxiter: int, shift: float, progress: Progress, **given: Any
) -> tuple[tuple[Any], Outcome]:
    """The core (see `overspill.linalg.space.Core`); `given` are ``b, x, rtol, atol``."""
    shifted = (lambda x: A(x) - shift * x) if shift else A
    recurrence = functools.partial(_round, space, shifted, M, maxiter, progress)
    return rounds.solve(space, shifted, recurrence, maxiter=maxiter, **given)


def _round(
    space: Space,
    A: Operator,
    M: Operator,
    maxiter: int,
    progress: Progress,
    x: Any,
    r: Any,
    residual: float,
    limit: float,
    iteration: int,
) -> tuple[Any, int, Ending | None]:
    # Names are the paper's, as in its authors' own programs: Lanczos vectors v, their images y before they are scaled.
    eps = float(np.finfo(r.dtype).eps)
    r2 = 1 * r
    y = M(r2)
    r1, w1, w2 = 0 * r, 0 * r, 0 * r
    r, r1, r2, y, w1, w2 = space.keep(r, r1, r2, y, w1, w2)
    (beta,) = (number.real for number in space.dots((r2, y)))
    if not math.isfinite(beta):
        return x, iteration, Ending.NOT_FINITE
    if beta <= 0:
        return x, iteration, Ending.INDEFINITE_M
    beta = phibar = math.sqrt(beta)
    oldb = dbar = epsilon = squares = 0.0
    cs, sn = -1.0, 0.0
    while residual > limit and iteration < maxiter:
        v = y * (1 / beta)
        y = A(v)
        if oldb:
            y = space.update(y, (-beta / oldb, r1))
        v, y = space.keep(v, y)
        (alpha,) = (number.real for number in space.dots((v, y)))
        y = space.update(y, (-alpha / beta, r2))
        r1, r2 = r2, y
        y = M(r2)
        r2, y = space.keep(r2, y)
        next_square, r2r2, rr2, rr = space.dots((r2, y), (r2, r2), (r, r2), (r, r))
        next_square, r2r2 = next_square.real, r2r2.real
        if not math.isfinite(alpha + next_square + r2r2):
            return x, iteration, Ending.NOT_FINITE
        if next_square < 0:
            return x, iteration, Ending.INDEFINITE_M
        oldb, beta = beta, math.sqrt(next_square)
        squares += alpha**2 + oldb**2 + beta**2
        norm = math.sqrt(squares)
        oldeps, delta, gbar = epsilon, cs * dbar + sn * alpha, sn * dbar - cs * alpha
        epsilon, dbar = sn * beta, -cs * beta
        root = math.hypot(gbar, dbar)
        if root <= eps**0.75 * norm:
            return x, iteration, Ending.LEAST_SQUARES
        gamma = max(math.hypot(gbar, beta), eps * norm)
        cs, sn = gbar / gamma, beta / gamma
        phi, phibar = cs * phibar, sn * phibar
        w1, w2 = w2, space.update(w1, (1 / gamma, v), (-delta / gamma, w2), scale=-oldeps / gamma)
        x = space.update(x, (phi, w2))
        along = -phibar * cs / beta if beta else 0.0
        r = space.update(r, (along, r2), scale=sn**2)
        residual = math.sqrt(max(sn**4 * rr.real + 2 * sn**2 * along * rr2.real + along**2 * r2r2, 0.0))
        iteration += 1
        x, r, w1, w2 = space.keep(x, r, w1, w2)
        progress(iteration, residual, x=x)
        if beta <= eps * norm:
            break
    return x, iteration, None
