"""The Chebyshev preconditioner: a polynomial of the matrix, which needs its products only."""

import math
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from overspill.errors import ArrayError, UsageError
from overspill.linalg import place
from overspill.linalg.arguments import as_vector, chunks_for, common_dtype
from overspill.linalg.jacobi import square
from overspill.linalg.operators import is_lazy, lies_on_device
from overspill.linalg.preconditioner import Preconditioner, Rule
from overspill.linalg.space import Operator, Progress, Space
from overspill.memory import link

STEPS = 20
"""Lanczos steps by which bounds are estimated."""


def chebyshev(A: Any, degree: int = 4, bounds: tuple[float, float] | None = None) -> Preconditioner:
    """A polynomial of `A` that approximates its inverse between `bounds`, as a preconditioner.

    Positive definite where `A` is and its eigenvalues lie below the upper bound. It costs `degree` products, and no
    reduction.

    Parameters
    ----------
    A
        Hermitian positive definite matrix, as `cg` takes it.
    degree
        Degree of the polynomial, at least 1.
    bounds
        Where the eigenvalues of `A` lie, or most of them: two positive numbers. By default they are estimated, now, by
        twenty steps of Lanczos' method: the lower one from above, the upper one safely.

    Returns
    -------
    Preconditioner
        For `M` of the solvers; lazy if `A` is.

    Raises
    ------
    ArrayError
        If `A` is not square, or found to have an eigenvalue below zero.
    UsageError
        For other degrees and bounds.

    Notes
    -----
    Algorithm 12.1 of Saad [1]_, begun from zero.

    References
    ----------
    .. [1] Y. Saad, "Iterative methods for sparse linear systems", 2nd edition, SIAM (2003).

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.diag([1.0, 2.0, 4.0])
    >>> M = osp.linalg.chebyshev(A, degree=8, bounds=(1, 4))
    >>> (M @ np.ones(3)).round(2)
    array([1.  , 0.5 , 0.25])
    """
    shape = square("chebyshev", A)
    if not (isinstance(degree, int) and degree >= 1):
        raise UsageError(f"chebyshev cannot use degree={degree!r}: pass a number of products, at least 1")
    if bounds is None:
        bounds = _estimated(A)
    low, high = bounds
    if not 0 < low <= high < math.inf:
        raise UsageError(f"chebyshev cannot use bounds={bounds!r}: pass two positive numbers, the smaller one first")
    rule = Polynomial(degree, float(low), float(high))
    return Preconditioner(shape, common_dtype(A), A, (), rule, rule.everywhere)


@dataclass(frozen=True, slots=True)
class Polynomial:
    """The rule: `degree` steps of Chebyshev's iteration for ``A z = r``, eigenvalues between `low` and `high`."""

    degree: int
    low: float
    high: float

    def everywhere(self, blocks: range) -> Rule:
        """The rule itself: it is the same for every part."""
        return self

    def __call__(self, A: Operator, vectors: tuple[Any, ...], r: Any) -> Any:
        """The polynomial of `A`, applied to `r`."""
        middle, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        ratio = half / middle
        rho, step = ratio, r * (1 / middle)
        z = step
        for _ in range(self.degree):
            r = r - A(step)
            # Saad's recurrence divided by sigma, so that both bounds may be equal.
            following = ratio / (2 - rho * ratio)
            step = step * (following * rho) + r * (2 / middle * (following / ratio if ratio else 0.5))
            rho = following
            z = z + step
        return z


def _estimated(A: Any) -> tuple[float, float]:
    """Bounds of the eigenvalues of `A`: above the smallest, and above the largest."""
    rows, dtype = A.shape[0], common_dtype(A)
    if not rows:
        return 1.0, 1.0
    v: Any
    if is_lazy(A):
        chunks = chunks_for(A, None)
        v = as_vector(da.random.default_rng(0).standard_normal(rows, chunks=(chunks,)), dtype, chunks, A)
    else:
        v = np.random.default_rng(0).standard_normal(rows).astype(dtype)
        if lies_on_device(A):
            v = link.to_device(v)
    _, (diagonal, beside) = place.run(lanczos, A, {"v": v}, None, {"steps": min(STEPS, rows)}, name="chebyshev")
    values = eigvalsh_tridiagonal(diagonal, beside[:-1])
    low, high = float(values[0]), float(values[-1]) + beside[-1]
    if low <= 0:
        raise ArrayError(
            f"chebyshev needs a positive definite A, which has eigenvalues near {low:.3g}: pass bounds=, or use jacobi"
        )
    return low, high


def lanczos(
    space: Space, A: Operator, M: Operator, *, v: Any, steps: int, progress: Progress
) -> tuple[tuple[()], tuple[list[float], list[float]]]:
    """A core (see `overspill.linalg.space.Core`): the tridiagonal matrix of Lanczos' method begun from `v`.

    Its diagonal, and what stands beside that, of which the last number belongs to a further row.
    """
    (square_,) = space.dots((v, v))
    v = v * (1 / math.sqrt(abs(square_)))
    before = 0 * v
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(steps):
        w = A(v)
        if beside:
            w = space.update(w, (-beside[-1], before))
        v, w = space.keep(v, w)
        (alpha,) = space.dots((v, w))
        w = space.update(w, (-alpha.real, v))
        (w,) = space.keep(w)
        (ww,) = space.dots((w, w))
        beta = math.sqrt(abs(ww))
        if not math.isfinite(beta):
            raise ArrayError("the products of A hold NaN or infinity: check its entries")
        diagonal.append(alpha.real)
        beside.append(beta)
        if beta <= 1e-6 * abs(alpha):
            break
        before, v = v, w * (1 / beta)
    return (), (diagonal, beside)
