"""The generalised minimal residual method, begun anew every so many iterations, for any square matrix."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs

from overspill.errors import UsageError
from overspill.linalg import linear, rounds
from overspill.linalg.operators import shape_of
from overspill.linalg.outcome import Ending, Outcome
from overspill.linalg.progress import Observer
from overspill.linalg.space import Operator, Progress, Space

CALLBACK_TYPES = ("x", "pr_norm", "legacy")


def gmres(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    rtol: float = 1e-5,
    atol: float = 0.0,
    restart: int | None = None,
    maxiter: int | None = None,
    M: Any = None,
    callback: Callable[[Any], Any] | None = None,
    callback_type: str | None = None,
) -> tuple[Any, int]:
    """Solve ``A x = b`` by the generalised minimal residual method.

    One product, two reductions and up to `restart` vectors an iteration. Runs where `cg` does.

    Parameters
    ----------
    A, b, x0, rtol, atol
        As of `cg`, but that `A` is any square matrix.
    restart
        Iterations until it begins anew from the solution so far, and vectors to hold; ``min(20, n)`` by default.
    maxiter
        Most cycles of `restart` iterations; ``10 * n`` by default. With ``callback_type="legacy"`` most iterations.
    M
        Approximate inverse of `A`, of the same kinds. Unlike SciPy's it is applied from the right, so that the norm
        that is made minimal is the residual's own.
    callback
        Called with what `callback_type` says.
    callback_type
        ``"x"``: with the solution so far, after each cycle. ``"pr_norm"``: with the norm of the residual over that of
        `b`, after each iteration. ``"legacy"``, the default as in SciPy: the same, and it changes `maxiter`. Without
        `callback` it has no effect.

    Returns
    -------
    x, info
        As of `cg`.

    Raises
    ------
    ArrayError, DTypeError, UsageError
        As `cg` does, and for another `callback_type` or a `restart` below one.

    Notes
    -----
    Saad and Schultz's method [1]_. Vectors are made orthogonal by classical Gram-Schmidt, twice, a reduction each.

    References
    ----------
    .. [1] Y. Saad, M. H. Schultz, "GMRES: a generalized minimal residual algorithm for solving nonsymmetric linear
       systems", SIAM Journal on Scientific and Statistical Computing 7 (1986), 856-869.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.array([[0.0, 2.0], [-1.0, 0.0]])
    >>> osp.linalg.gmres(A, np.array([2.0, 3.0]), rtol=1e-10)
    (array([-3.,  1.]), 0)
    """
    if callback_type not in (None, *CALLBACK_TYPES):
        raise UsageError(f"gmres cannot use callback_type={callback_type!r}: pass one of {', '.join(CALLBACK_TYPES)}")
    if restart is not None and restart < 1:
        raise UsageError(f"gmres cannot use restart={restart}: pass a number of iterations, at least 1")
    kind = None if callback is None else callback_type or "legacy"
    observer = None if callback is None else linear.of_x(callback) if kind == "x" else _of_norm(callback, b)
    restart = min(restart or 20, shape_of("A", A)[0])
    return linear.solve(
        "gmres",
        iterate,
        A,
        b,
        x0,
        M,
        rtol=rtol,
        atol=atol,
        maxiter=maxiter,
        observer=observer,
        steps=1 if kind == "legacy" else restart,
        restart=restart,
    )


def iterate(
    space: Space, A: Operator, M: Operator, *, maxiter: int, restart: int, progress: Progress, **given: Any
) -> tuple[tuple[Any], Outcome]:
    """The core (see `overspill.linalg.space.Core`); `given` are ``b, x, rtol, atol``, `maxiter` counts all steps."""
    cycle = functools.partial(_cycle, space, A, M, restart, maxiter, progress)
    return rounds.solve(space, A, cycle, maxiter=maxiter, **given)


def _cycle(
    space: Space,
    A: Operator,
    M: Operator,
    restart: int,
    maxiter: int,
    progress: Progress,
    x: Any,
    r: Any,
    residual: float,
    limit: float,
    iteration: int,
) -> tuple[Any, int, Ending | None]:
    basis = list(space.keep(space.update(r, scale=1 / residual)))
    triangle = _Triangle(min(restart, maxiter - iteration), residual)
    for _ in range(min(restart, maxiter - iteration)):
        (w,) = space.keep(A(M(basis[-1])))
        w, column = _orthogonal(space, basis, w)
        if not np.isfinite(column).all():
            return x, iteration, Ending.NOT_FINITE
        left = triangle.append(column)
        iteration += 1
        progress(iteration, left)
        if left <= limit or column[-1] == 0:
            break
        basis += space.keep(space.update(w, scale=1 / column[-1].real))
    weights = triangle.solution().tolist()
    direction = space.update(basis[0], *zip(weights[1:], basis[1:], strict=False), scale=weights[0])
    (x,) = space.keep(space.update(x, (1.0, M(direction))))
    progress(iteration, left, x=x)
    return x, iteration, None


def _orthogonal(space: Space, basis: list[Any], w: Any) -> tuple[Any, NDArray[Any]]:
    """`w` without its parts in the orthonormal `basis`, and the column of the Hessenberg matrix that it makes."""
    *first, before = space.dots(*((v, w) for v in basis), (w, w))
    (w,) = space.keep(space.update(w, *((-h, v) for h, v in zip(first, basis, strict=True))))
    *second, after = space.dots(*((v, w) for v in basis), (w, w))
    w = space.update(w, *((-h, v) for h, v in zip(second, basis, strict=True)))
    left = after.real - sum(abs(h) ** 2 for h in second)
    noise = 10 * float(np.finfo(w.dtype).eps)
    norm = math.sqrt(left) if left > noise**2 * before.real else 0.0
    return w, np.array([*np.add(first, second), norm if math.isfinite(after.real) else math.nan])


class _Triangle:
    """The Hessenberg matrix of at most `steps` columns, made triangular by rotations as it grows."""

    def __init__(self, steps: int, residual: float) -> None:
        self._R = np.zeros((steps, steps), np.complex128)
        self._right = np.zeros(steps + 1, np.complex128)
        self._right[0] = residual
        self._rotations: list[tuple[float, complex]] = []
        self._lartg: Any = get_lapack_funcs("lartg", dtype=np.complex128)
        self._real = True

    def append(self, column: NDArray[Any]) -> float:
        """The residual's norm with this column more."""
        self._real = self._real and not np.iscomplexobj(column)
        column = column.astype(np.complex128)
        for k, (c, s) in enumerate(self._rotations):
            column[k], column[k + 1] = (
                c * column[k] + s * column[k + 1],
                -np.conj(s) * column[k] + c * column[k + 1],
            )
        k = len(self._rotations)
        c, s, column[k] = self._lartg(column[k], column[k + 1])
        self._rotations.append((c, s))
        self._R[: k + 1, k] = column[: k + 1]
        self._right[k : k + 2] = c * self._right[k], -np.conj(s) * self._right[k]
        return float(abs(self._right[k + 1]))

    def solution(self) -> NDArray[Any]:
        """The coefficients in the basis that make the residual's norm minimal."""
        k = len(self._rotations)
        y = np.linalg.lstsq(self._R[:k, :k], self._right[:k])[0]  # of a singular A, R may be singular
        return y.real if self._real else y


def _of_norm(callback: Callable[[Any], Any], b: Any) -> Observer:
    norm = functools.cache(lambda: float(np.linalg.norm(b)))

    def observe(residual: float, vectors: Mapping[str, Any]) -> None:
        if "x" not in vectors:
            callback(residual / norm())

    return observe
