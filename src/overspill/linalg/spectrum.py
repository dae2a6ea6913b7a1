"""Which eigenvalues are asked for, in which order they come, and how the search for them ended."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from overspill.errors import ConvergenceError
from overspill.linalg.basis import NotFiniteError
from overspill.linalg.space import Core, Operator, Space

Which: TypeAlias = Literal["LM", "SM", "LA", "SA", "BE"]
"""Largest or smallest magnitude, largest or smallest algebraically, or half of them from both ends."""

HONEST = 1000
"""Multiples of the rounding of the largest eigenvalue that the residual of a converged eigenpair of A may have."""


class Reason(Enum):
    """Why a search stopped: what happened, and what to try."""

    CONVERGED = ("all eigenpairs are within the tolerance", "nothing is to be done")
    MAXITER = ("maxiter was reached", "raise maxiter=, ncv= or tol=")
    STAGNATED = ("the residuals no longer fall", "raise tol=, or use float64")
    NOT_FINITE = ("A, M or v0 brought NaN or infinity", "check their entries")
    NOT_HERMITIAN = ("A is not Hermitian: what it makes of the vectors found is another", "check A")
    NOT_ADJOINT = ("the adjoint of A is that of another matrix", "check rmatvec=")
    INDEFINITE = ("A is not positive definite, as M= asks for", "leave out M=, or shift A")
    INDEFINITE_M = ("M is not positive definite", "pass another M=, or leave it out")

    def __init__(self, what: str, advice: str) -> None:
        self.what = what
        self.advice = advice


class EndedError(Exception):
    """A search that ends with nothing to show for it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What a search found.

    Attributes
    ----------
    values
        Eigenvalues or singular values, ascending.
    residuals
        Norm of ``A x - value x`` of each, computed anew.
    limits
        What was asked of each of these.
    reason
        Why it stopped.
    iterations
        How many were done.
    """

    values: NDArray[Any]
    residuals: NDArray[Any]
    limits: NDArray[Any]
    reason: Reason
    iterations: int

    @classmethod
    def nothing(cls, reason: Reason) -> "Spectrum":
        """Of a search that found nothing."""
        none = np.empty(0)
        return cls(none, none, none, reason, 0)

    def demand(self, name: str, vectors: Sequence[Any]) -> None:
        """See that all were found; `vectors` are what the search returned beside this.

        Raises
        ------
        ConvergenceError
            If not: with those that were.
        """
        if self.reason is Reason.CONVERGED:
            return
        converged = np.flatnonzero(self.residuals <= self.limits)
        worst = ""
        if len(self.residuals):
            i = int(np.argmax(self.residuals / self.limits))
            worst = (
                f"; {len(converged)} of {len(self.values)} converged, the worst, {self.values[i]:.6g}, has a residual "
                f"of {self.residuals[i]:.2g} where {self.limits[i]:.2g} was asked for"
            )
        raise ConvergenceError(
            f"{name}: {self.reason.what} at iteration {self.iterations}{worst}: {self.reason.advice}",
            self.values[converged],
            vectors[0][:, converged] if len(converged) else None,
        )


def ended_in_words(core: Core) -> Core:
    """The core, with a `Spectrum` of nothing that says why in place of an exception."""

    @functools.wraps(core)
    def run(space: Space, A: Operator, M: Operator, **given: Any) -> Any:
        try:
            return core(space, A, M, **given)
        except NotFiniteError:
            reason = Reason.NOT_FINITE
        except EndedError as error:
            reason = error.reason
        return (), Spectrum.nothing(reason)

    return run


def select(values: NDArray[Any], k: int, which: Which) -> NDArray[np.intp]:
    """Places of the `k` of the ascending `values` that `which` asks for, in their order.

    Examples
    --------
    >>> import numpy as np
    >>> select(np.array([-5.0, -1.0, 2.0, 3.0]), 2, "LM")
    array([0, 3])
    """
    n = len(values)
    if which == "BE":
        low = k // 2
        return np.concatenate([np.arange(low), np.arange(n - (k - low), n)])
    first = {"LM": np.abs(values), "SM": -np.abs(values), "LA": values, "SA": -values}[which]
    places: NDArray[np.intp] = np.sort(np.argsort(first, kind="stable")[n - k :])
    return places


def ordered(values: NDArray[Any], which: Which) -> NDArray[Any]:
    """Eigenvalues in the order in which SciPy returns them where it is asked for no eigenvectors."""
    if which in ("LM", "SA"):
        return values[np.argsort(np.abs(values), kind="stable")]
    return values[np.argsort(-np.abs(values), kind="stable")] if which == "SM" else values


def residual_norms(space: Space, A: Operator, X: Any, values: NDArray[Any]) -> NDArray[Any]:
    """Norms of the columns of ``A X - X diag(values)``, computed anew."""
    (R,) = space.keep(space.combine((A(X), np.eye(len(values))), (X, -np.diag(values))))
    norms: NDArray[Any] = np.sqrt(np.abs(np.diag(space.gram(R, R))))
    return norms


def rounding_of(norm: float, eps: float) -> float:
    """The residual that rounding leaves of eigenpairs of a matrix of this norm; more than 0 for one of zeros too."""
    return max(eps * norm, float(np.finfo(np.float64).tiny))


def settled(values: NDArray[Any], before: NDArray[Any] | None, limits: NDArray[Any], rounding: float) -> bool:
    """Whether a search that began anew beside the eigenpairs it had found has found the same again, and nothing new."""
    return before is not None and np.allclose(values, before, rtol=0, atol=max(HONEST * rounding, limits.max()))


def kept_at_restart(k: int, converged: int, ncv: int) -> int:
    """Vectors of a basis of `ncv` that a restart keeps: those wanted, and the more the more of these have converged."""
    return k + min(converged + (ncv - k) // 4, (ncv - k) // 2)


def judged(
    residuals: NDArray[Any], limits: NDArray[Any], rounding: float, otherwise: Reason = Reason.NOT_HERMITIAN
) -> Reason:
    """Whether eigenpairs that converged by the method's own reckoning have residuals to show for it."""
    if not np.isfinite(residuals).all():
        return Reason.NOT_FINITE
    honest = np.maximum(10 * limits, HONEST * rounding)
    return Reason.CONVERGED if (residuals <= honest).all() else otherwise
