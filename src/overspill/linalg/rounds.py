"""What all solvers of linear systems share: a recurrence, begun anew from the true residual until that is small.

A recurrence's own residual drifts away from ``b - A x`` in rounded arithmetic. So a solver is a *round*: from `x` and
its true residual it iterates until its recurrence has reached the limit or cannot go on; then the truth is computed.
If that is not within the limit, the next round begins from it, as long as rounds make it smaller.
"""

import math
from typing import Any, Protocol

from overspill.errors import ArrayError
from overspill.linalg.outcome import Ending, Outcome
from overspill.linalg.space import Operator, Space

STALLED = 1 - 1e-6
"""A round that leaves more than this of the residual is the last."""


class Round(Protocol):
    """A solver's recurrence."""

    def __call__(self, x: Any, r: Any, residual: float, limit: float, iteration: int) -> tuple[Any, int, Ending | None]:
        """A better `x`, the number of iterations done by now, and why there can be no other round.

        Overwrites `x` and its residual `r`, whose norm is `residual`; `iteration` were done before.
        """


def solve(
    space: Space, A: Operator, round_: Round, *, b: Any, x: Any, rtol: float, atol: float, maxiter: int
) -> tuple[tuple[Any], Outcome]:
    """Rounds until ``norm(b - A x) <= max(rtol * norm(b), atol)``; reads `b`, overwrites `x`.

    Raises
    ------
    ArrayError
        If `b` or `x` is not finite.
    """
    bb, xx = (abs(number) for number in space.dots((b, b), (x, x)))
    for name, number in (("b", bb), ("x0", xx)):
        if not math.isfinite(number):
            raise ArrayError(f"{name} holds NaN or infinity, or its norm overflows: replace or scale its elements")
    limit = max(rtol * math.sqrt(bb), atol)
    if bb == 0:
        return (0 * b,), Outcome(Ending.CONVERGED, 0, 0.0, limit)
    iteration, before, ending = 0, math.inf, None
    while True:
        (r,) = space.keep(b - A(x))
        (rr,) = space.dots((r, r))
        residual = math.sqrt(abs(rr))
        if residual <= limit:
            ending = Ending.CONVERGED
        elif not math.isfinite(residual):
            ending = Ending.NOT_FINITE
        elif ending is None and iteration >= maxiter:
            ending = Ending.MAXITER
        elif ending is None and residual > STALLED * before:
            ending = Ending.STAGNATED
        if ending is not None:
            return (x,), Outcome(ending, iteration, residual, limit)
        before = residual
        x, iteration, ending = round_(x, r, residual, limit, iteration)
