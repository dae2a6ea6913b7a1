"""The stabilised biconjugate gradient method, for any square matrix."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from overspill.linalg import linear, rounds
from overspill.linalg.outcome import Ending, Outcome
from overspill.linalg.space import Operator, Progress, Space


def bicgstab(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    rtol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Solve ``A x = b`` by the stabilised biconjugate gradient method.

    Two products and two reductions an iteration. Runs where `cg` does.

    Parameters
    ----------
    A, b, x0, rtol, atol, maxiter, callback
        As of `cg`, but that `A` is any square matrix.
    M
        Approximate inverse of `A`, of the same kinds; it is applied from the right.

    Returns
    -------
    x, info
        As of `cg`; -11 where it breaks down.

    Raises
    ------
    ArrayError, DTypeError, UsageError
        As `cg` does.

    Notes
    -----
    Van der Vorst's method [1]_. The products with the shadow residual and the residual's norm after an iteration follow
    from five inner products taken at once before its end. Where the residual has become orthogonal to its shadow, the
    recurrence begins anew.

    References
    ----------
    .. [1] H. A. van der Vorst, "Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG for the solution of
       nonsymmetric linear systems", SIAM Journal on Scientific and Statistical Computing 13 (1992), 631-644.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.array([[4.0, 2.0], [-1.0, 3.0]])
    >>> x, info = osp.linalg.bicgstab(A, np.array([2.0, 3.0]), rtol=1e-10)
    >>> x.round(6) + 0.0, info
    (array([0., 1.]), 0)
    """
    return linear.solve(
        "bicgstab", iterate, A, b, x0, M, rtol=rtol, atol=atol, maxiter=maxiter, observer=linear.of_x(callback)
    )


def iterate(
    space: Space, A: Operator, M: Operator, *, maxiter: int, progress: Progress, **given: Any
) -> tuple[tuple[Any], Outcome]:
    """The core (see `overspill.linalg.space.Core`); `given` are ``b, x, rtol, atol``."""
    recurrence = functools.partial(_round, space, A, M, maxiter, progress)
    return rounds.solve(space, A, recurrence, maxiter=maxiter, **given)


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
    eps = float(np.finfo(r.dtype).eps)
    shadow, p = space.keep(1 * r, 1 * r)
    shadow_norm, rho, begun = residual, residual**2, iteration
    while residual > limit and iteration < maxiter:
        toward = M(p)
        v = A(toward)
        v, toward = space.keep(v, toward)
        sv, vv = space.dots((shadow, v), (v, v))
        if not math.isfinite(abs(sv) + abs(vv)):
            return x, iteration, Ending.NOT_FINITE
        if abs(sv) <= eps * shadow_norm * math.sqrt(abs(vv)):
            return x, iteration, Ending.ORTHOGONAL if iteration == begun else None
        alpha = rho / sv
        s = space.update(r, (-alpha, v))
        onward = M(s)
        t = A(onward)
        s, onward, t = space.keep(s, onward, t)
        ts, tt, ss, shadow_s, shadow_t = space.dots((t, s), (t, t), (s, s), (shadow, s), (shadow, t))
        tt, ss = tt.real, ss.real
        if not math.isfinite(tt + ss):
            return x, iteration, Ending.NOT_FINITE
        omega = ts / tt if tt else 0.0
        before, rho = rho, shadow_s - omega * shadow_t
        residual = math.sqrt(max(ss - (abs(ts) ** 2 / tt if tt else 0.0), 0.0))
        x = space.update(x, (alpha, toward), (omega, onward))
        r = space.update(s, (-omega, t))
        iteration += 1
        progress(iteration, residual, x=x)
        if residual <= limit:
            break
        if abs(ts) <= eps * math.sqrt(tt * ss):
            (x,) = space.keep(x)
            return x, iteration, Ending.ORTHOGONAL
        if abs(rho) <= eps * shadow_norm * residual:
            break
        beta = rho / before * alpha / omega
        p = space.update(p, (-beta * omega, v), (1.0, r), scale=beta)
        x, r, p = space.keep(x, r, p)
    (x,) = space.keep(x)
    return x, iteration, None
