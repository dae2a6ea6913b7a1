"""The conjugate gradient method, for Hermitian positive definite matrices."""

import functools
import math
from collections.abc import Callable
from typing import Any

from overspill.kernels.update import Update
from overspill.linalg import linear, rounds
from overspill.linalg.outcome import Ending, Outcome
from overspill.linalg.space import Operator, Progress, Space


def cg(
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
    """Solve ``A x = b`` for Hermitian positive definite `A` by the conjugate gradient method.

    In memory where everything is in memory; else over Dask graphs, on whatever runs them; and where `A` is a
    `CSRMatrix`, a cluster is there, and `callback` is not given, in one long task a worker. All three do the same.

    Parameters
    ----------
    A
        Matrix of shape (n, n) of real or complex numbers: a `CSRMatrix`, a SciPy or cupyx sparse matrix, a NumPy, CuPy
        or Dask array, or a `LinearOperator`, also SciPy's. A `CSRMatrix` is computed once and held; other lazy
        matrices are computed in each iteration unless they are persisted before.
    b
        Right hand side of shape (n,) or (n, 1): NumPy, CuPy or Dask.
    x0
        First guess; zeros by default. ``"Mb"`` is ``M @ b``.
    rtol, atol
        It has converged when ``norm(b - A @ x) <= max(rtol * norm(b), atol)``, with the residual computed anew.
    maxiter
        Most iterations; ``10 * n`` by default.
    M
        Approximate inverse of `A`, Hermitian positive definite: what can be `A`, or `jacobi`, `block_jacobi` and
        `chebyshev` of it.
    callback
        Called with the solution so far after each iteration; it is overwritten later.

    Returns
    -------
    x
        Solution of shape (n,), an array of the kind of `b`; Dask arrays are persisted.
    info
        0 if it has converged, the number of iterations if not, negative where it cannot go on. All but convergence and
        reaching `maxiter` is named in a `ConvergenceWarning`.

    Raises
    ------
    ArrayError
        For shapes that do not match, chunks of unknown size, and NaN or infinity in `b` or `x0`.
    DTypeError
        For elements that are no numbers.
    UsageError
        For negative tolerances.

    Notes
    -----
    The form of Chronopoulos and Gear [1]_, in which an iteration has one reduction.

    References
    ----------
    .. [1] A. T. Chronopoulos, C. W. Gear, "s-step iterative methods for symmetric linear systems", Journal of
       Computational and Applied Mathematics 25 (1989), 153-168.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.array([[4.0, 1.0], [1.0, 3.0]])
    >>> x, info = osp.linalg.cg(A, np.array([1.0, 2.0]), rtol=1e-10)
    >>> x.round(6), info
    (array([0.090909, 0.636364]), 0)
    """
    return linear.solve(
        "cg", iterate, A, b, x0, M, rtol=rtol, atol=atol, maxiter=maxiter, observer=linear.of_x(callback)
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
    u = M(r)
    w = A(u)
    p, s = 0 * u, 0 * w
    u, w, p, s = space.keep(u, w, p, s)
    before = alpha = beta = 0.0
    begun = iteration
    while True:
        rr, gamma, delta = (number.real for number in space.dots((r, r), (r, u), (u, w)))
        if iteration > begun:
            progress(iteration, math.sqrt(rr), x=x)
        if not math.isfinite(rr + gamma + delta):
            return x, iteration, Ending.NOT_FINITE
        if math.sqrt(rr) <= limit or iteration >= maxiter:
            return x, iteration, None
        if gamma <= 0:
            return x, iteration, Ending.INDEFINITE_M
        beta = gamma / before if before else 0.0
        curvature = delta - beta * gamma / alpha if before else delta
        if curvature <= 0 and before:  # by rounding, or by nature: the product itself tells
            p = space.update(p, (1.0, u), scale=beta)
            (curvature,) = (number.real for number in space.dots((p, A(p))))
            if curvature > 0:
                return x, iteration, None
        if curvature <= 0:
            return x, iteration, Ending.INDEFINITE
        alpha, before = gamma / curvature, gamma
        p, s, x, r = space.updates(
            Update(p, [(1.0, u)], beta), Update(s, [(1.0, w)], beta), Update(x, [(alpha, p)]), Update(r, [(-alpha, s)])
        )
        del w  # lest there be two of them
        u = M(r)
        w = A(u)
        x, r, p, s, u, w = space.keep(x, r, p, s, u, w)
        iteration += 1
