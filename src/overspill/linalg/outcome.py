"""How a solver ended, and what a person is told of it."""

import warnings
from dataclasses import dataclass
from enum import Enum

from overspill.errors import ConvergenceWarning


class Ending(Enum):
    """Why a solver stopped: SciPy's `info` where it is a fixed number, what happened, and what to try."""

    CONVERGED = (0, "the residual is within the tolerance", "nothing is to be done")
    MAXITER = (None, "maxiter was reached", "raise maxiter=, or pass a preconditioner M=")
    STAGNATED = (
        None,
        "the residual no longer falls",
        "raise rtol=, use double precision or a preconditioner M=, and check that b is in the range of A",
    )
    LEAST_SQUARES = (None, "b is not in the range of A, and x is a least-squares solution", "check A and b")
    ORTHOGONAL = (-11, "A maps a search direction onto one orthogonal to it (breakdown)", "use gmres")
    INDEFINITE = (-12, "A is not Hermitian positive definite", "use minres for Hermitian A, gmres for others")
    INDEFINITE_M = (-13, "M is not Hermitian positive definite", "pass another M=, or use gmres")
    NOT_FINITE = (-14, "A or M made NaN or infinity", "check their entries, and that the solution is not too large")

    def __init__(self, info: int | None, what: str, advice: str) -> None:
        self.info = info
        self.what = what
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a solver.

    Attributes
    ----------
    ending
        Why it stopped.
    iterations
        How many were done.
    residual
        Norm of ``b - A x``, computed anew from the `x` that is returned.
    limit
        The norm that was asked for.
    """

    ending: Ending
    iterations: int
    residual: float
    limit: float

    @property
    def info(self) -> int:
        """What SciPy's solvers return beside x: 0 converged, > 0 iterations without convergence, < 0 breakdown."""
        return max(self.iterations, 1) if self.ending.info is None else self.ending.info

    def __str__(self) -> str:
        return (
            f"{self.ending.what}: after {self.iterations} iterations the residual is {self.residual:.3g}, "
            f"where {self.limit:.3g} was asked for"
        )


def warn(name: str, outcome: Outcome, stacklevel: int) -> None:
    """Name every end but convergence and `maxiter`, which `info` says by itself, in one sentence."""
    if outcome.ending not in (Ending.CONVERGED, Ending.MAXITER):
        warnings.warn(f"{name}: {outcome}: {outcome.ending.advice}", ConvergenceWarning, stacklevel=stacklevel + 1)
