"""The power method, for the eigenvalue of largest modulus."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from overspill.errors import ArrayError, ConvergenceError, UsageError
from overspill.linalg import place
from overspill.linalg.arguments import system
from overspill.linalg.operators import shape_of
from overspill.linalg.progress import logger
from overspill.linalg.space import Operator, Progress, Space
from overspill.linalg.start import random_vector

ROUNDING = 4
"""Multiples of the rounding of ``A v`` that a residual cannot be relied on to fall below."""

SAME = 1e-2
"""How far apart, as a share, two moduli are that cannot be told apart after many iterations."""


@dataclass(frozen=True, slots=True)
class Dominant:
    """What the power method came to.

    Attributes
    ----------
    value
        The last Rayleigh quotient.
    residual, limit
        Norm of ``A v - value v``, and what was asked of it.
    iterations
        How many were done.
    pair
        If it is not within the limit: the eigenvalues of A in the plane of the last two vectors.
    pair_residual
        How far A leads out of that plane.
    """

    value: complex
    residual: float
    limit: float
    iterations: int
    pair: tuple[complex, complex] = (math.nan, math.nan)
    pair_residual: float = math.nan

    @property
    def converged(self) -> bool:
        """Whether the residual is within the limit; NaN is not."""
        return self.residual <= self.limit


def power_iteration(A: Any, *, v0: Any = None, rtol: float = 1e-6, maxiter: int = 1000) -> tuple[Any, Any]:
    """Find the eigenvalue of largest modulus, and its vector, by the power method [1]_.

    Parameters
    ----------
    A
        Matrix of shape (n, n), Hermitian or not: `CSRMatrix`, SciPy matrix or operator, array, `LinearOperator`.
    v0
        First vector, of shape (n,); random unless given, the same each time.
    rtol
        The residual ``|A v - value v|`` that is asked for, as a share of the eigenvalue.
    maxiter
        Most products with A.

    Returns
    -------
    value, v
        The eigenvalue, a Python number, and the vector, of shape (n,) and norm one: a Dask array where A's products are
        Dask arrays, else a NumPy or CuPy array. Of a real matrix both are real.

    Raises
    ------
    ConvergenceError
        If the residual is not within the tolerance after `maxiter` products. Where two eigenvalues have the largest
        modulus, a complex pair or two of opposite sign, it says so and which: no vector then settles.
    ArrayError, DTypeError, UsageError
        For arguments that cannot be used.

    References
    ----------
    .. [1] G. Golub, C. Van Loan, *Matrix Computations*, 4th edition, section 7.3.1.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> value, v = osp.linalg.power_iteration(np.array([[2.0, 1.0], [1.0, 2.0]]), rtol=1e-12)
    >>> round(value, 9)
    3.0
    """
    if not 0 <= rtol < 1:
        raise UsageError(f"power_iteration cannot use rtol={rtol}: pass a share of the eigenvalue, below 1")
    if maxiter < 1:
        raise UsageError(f"power_iteration cannot use maxiter={maxiter}: pass 1 or more")
    n, columns = shape_of("A", A)
    if n != columns or n == 0:
        raise ArrayError(f"A has shape {(n, columns)}, but eigenvalues are those of square matrices: pass one")
    problem = system(A, random_vector(A, n) if v0 is None else v0)
    if v0 is not None and not float(abs(problem.b).max()) > 0:
        raise UsageError("power_iteration cannot begin with v0=, which is zero or NaN: leave it out")
    options = {"rtol": float(rtol), "maxiter": maxiter}
    (v,), found = place.run(iterate, problem.A, {"v0": problem.b}, None, options, name="power_iteration")
    logger.info("power_iteration: residual %.3g at iteration %d", found.residual, found.iterations)
    if not found.converged:
        raise ConvergenceError(_explained(found), np.array([found.value]), v)
    return found.value, v


def iterate(
    space: Space, A: Operator, M: Operator, *, v0: Any, rtol: float, maxiter: int, progress: Progress
) -> tuple[tuple[Any], Dominant]:
    """The iteration; reads `v0`. `M` has no part in it. See `overspill.linalg.space.Core`."""
    (square,) = space.dots((v0, v0))
    eps = float(np.finfo(v0.dtype).eps)
    v, r = v0 * (1 / math.sqrt(square.real)), 0 * v0
    value: complex = 0.0
    for iteration in range(1, maxiter + 1):
        (w,) = space.keep(A(v))
        # About the last value: then the residual of the new one comes of the same reduction, without cancellation.
        r = space.update(r, (1.0, w), (-value, v), scale=0.0)
        along, about, norm = space.dots((v, r), (r, r), (w, w))
        value += along
        residual = math.sqrt(max(about.real - abs(along) * abs(along), 0.0))
        limit = max(rtol * abs(value), ROUNDING * eps * math.sqrt(norm.real))
        progress(iteration, residual, v0=v)
        if residual <= limit or not math.isfinite(residual):
            return (v,), Dominant(value, residual, limit, iteration)
        if iteration < maxiter:
            v = space.update(w, scale=1 / math.sqrt(norm.real))
    # What A does in the plane of the last two vectors tells why.
    q = (w - value * v) * (1 / residual)
    (y,) = space.keep(A(q))
    right, down, whole = space.dots((v, y), (q, y), (y, y))
    pair = np.linalg.eigvals(np.array([[value, right], [residual, down]])).tolist()
    one, other = (x if x.imag else x.real for x in pair)  # NumPy 2.5 has complex ones in any case
    out = math.sqrt(max(whole.real - abs(right) * abs(right) - abs(down) * abs(down), 0.0))
    return (v,), Dominant(value, residual, limit, iteration, (one, other), out)


def _explained(found: Dominant) -> str:
    """Why the power method has not converged, and what to do."""
    one, other = found.pair
    largest = max(abs(one), abs(other))
    if not math.isfinite(found.residual):
        return f"power_iteration: A or v0 brought NaN or infinity at iteration {found.iterations}: check their entries"
    alike = abs(abs(one) - abs(other)) <= SAME * largest and found.pair_residual <= SAME * largest
    if alike and abs(one - other) > math.sqrt(SAME) * largest:
        return (
            f"power_iteration: two eigenvalues have the largest modulus, about {one:.6g} and {other:.6g}, so that no "
            f"vector settles: shift A by a multiple of the identity, or use eigsh for Hermitian A and "
            f"scipy.sparse.linalg.eigs for others"
        )
    return (
        f"power_iteration: maxiter was reached at iteration {found.iterations}, with a residual of "
        f"{found.residual:.3g} where {found.limit:.3g} was asked for: raise maxiter= or rtol=, or use eigsh, which is "
        f"faster by far, for Hermitian A"
    )
