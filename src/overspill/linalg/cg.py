"""The conjugate gradient method, for Hermitian positive definite matrices."""

import math
from collections.abc import Callable
from typing import Any

from overspill.linalg import place
from overspill.linalg.arguments import system
from overspill.linalg.outcome import Ending, Outcome, warn, within
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
    """Solve ``A x = b`` for Hermitian positive definite `A` by conjugate gradients."""
    problem = system(A, b, x0, M)
    options = {"rtol": rtol, "atol": atol, "maxiter": 10 * problem.b.size if maxiter is None else maxiter}
    vectors = {"b": problem.b, "x": problem.x}
    (x,), outcome = place.run(iterate, problem.A, vectors, problem.M, options, name="cg", callback=callback)
    warn("cg", outcome)
    return problem.returned(x), outcome.info


def iterate(
    space: Space,
    A: Operator,
    M: Operator,
    *,
    b: Any,
    x: Any,
    rtol: float,
    atol: float,
    maxiter: int,
    progress: Progress,
) -> tuple[tuple[Any], Outcome]:
    """The iteration; reads `b`, overwrites `x`. See `overspill.linalg.space.Core`."""
    (bb,) = space.dots((b, b))
    limit = max(rtol * math.sqrt(bb.real), atol)
    if bb == 0:
        return (0 * b,), Outcome(Ending.CONVERGED, 0, 0.0, limit)
    r = b - A(x)
    u = M(r)
    w = A(u)
    p, s = 0 * u, 0 * w
    before = alpha = 0.0
    r, u, w, p, s = space.keep(r, u, w, p, s)
    for iteration in range(maxiter + 1):
        rr, gamma, delta = (number.real for number in space.dots((r, r), (r, u), (u, w)))
        residual = math.sqrt(rr)
        if iteration:
            progress(iteration, residual, x=x)
        if within(residual, limit):
            return (x,), Outcome(Ending.CONVERGED, iteration, residual, limit)
        beta = gamma / before if before else 0.0
        curvature = delta - beta * gamma / alpha if beta else delta
        if not curvature > 0:
            return (x,), Outcome(Ending.INDEFINITE, iteration, residual, limit)
        alpha, before = gamma / curvature, gamma
        p = space.update(p, (1.0, u), scale=beta)
        s = space.update(s, (1.0, w), scale=beta)
        x = space.update(x, (alpha, p))
        r = space.update(r, (-alpha, s))
        u = M(r)
        w = A(u)
        x, r, p, s, u, w = space.keep(x, r, p, s, u, w)
    return (x,), Outcome(Ending.MAXITER, maxiter, residual, limit)
