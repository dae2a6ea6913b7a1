"""LOBPCG with inexact inverses, for the smallest eigenvalues of a Hermitian matrix that a preconditioner is known for.

A. Knyazev, "Toward the optimal preconditioned eigensolver: locally optimal block preconditioned conjugate gradient
method", SIAM J. Sci. Comput. 23 (2001); orthonormal bases throughout, and directions made so by their coefficients, as
in J. Duersch, M. Shao, C. Yang & M. Gu, "A robust and efficient implementation of LOBPCG", SIAM J. Sci. Comput. 40
(2018). New directions are not ``M r`` but what some steps of conjugate gradients, preconditioned by M, make of
``A d = r``: it takes about as many products, and far fewer of everything else.
"""

import math
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from overspill.linalg.basis import (
    another,
    appended,
    combined,
    epsilon,
    extended,
    finite,
    normalised,
    orthonormal,
    symmetric,
)
from overspill.linalg.space import Operator, Progress, Space
from overspill.linalg.spectrum import (
    HONEST,
    EndedError,
    Reason,
    Spectrum,
    ended_in_words,
    judged,
    residual_norms,
    rounding_of,
)

INNER_RTOL = 0.1
"""What the inner iterations bring ``sqrt(r^H M r)`` down to: less brings outer iterations little, and costs more."""

INNER_MAXITER = 1000

NORM_STEPS = 10
"""Steps of the Lanczos method by which the norm of A is estimated: to a few percent."""

ROUNDING = 4
"""Multiples of the rounding of the norm of A that residuals cannot be relied on to fall below."""

PATIENCE = 10
"""Iterations without a smaller residual, after which there will be none."""


@ended_in_words
def iterate(
    space: Space,
    A: Operator,
    M: Operator,
    *,
    v0: Any,
    spare: Any,
    k: int,
    guards: int,
    definite: bool,
    tol: float,
    maxiter: int,
    progress: Progress,
) -> tuple[tuple[Any], Spectrum]:
    """The iteration; reads `v0`, the first vector, and `spare`, of random numbers in (-1, 1).

    It finds the `k` smallest eigenvalues with a block of `guards` more vectors, which keep the last of them from being
    slow. If `A` is to be positive `definite`, it ends as soon as an eigenvalue is seen that is not. See
    `overspill.linalg.space.Core`.
    """
    rounding = rounding_of(_norm(space, A, spare), epsilon(v0))
    start = [v0]
    for _ in range(k + guards - 1):
        spare = another(space, spare)
        start.append(spare)
    X = orthonormal(space, space.join(*start))
    AX = A(X)
    theta, C = np.linalg.eigh(symmetric(finite(space.gram(X, AX))))
    X, AX = space.keep(space.combine((X, C)), space.combine((AX, C)))
    P = AP = X[:, :0]
    best, since, reason = math.inf, 0, Reason.MAXITER
    for iteration in range(1, maxiter + 1):
        (R,) = space.keep(space.combine((AX, np.eye(len(theta))), (X, -np.diag(theta))))
        residuals = np.sqrt(np.diag(finite(space.gram(R, R))).real)
        limits = np.maximum(tol * np.abs(theta), ROUNDING * rounding)
        worst = float((residuals / limits)[:k].max())
        since = 0 if worst < best else since + 1
        best = min(best, worst)
        if definite and theta[0] < -ROUNDING * rounding:
            reason = Reason.INDEFINITE
        elif worst <= 1 or (since >= PATIENCE and (residuals[:k] <= HONEST * rounding).all()):
            reason = Reason.CONVERGED
        if reason is not Reason.MAXITER or iteration == maxiter:
            break
        progress(iteration, float(residuals[:k].max()), v0=space.combine((X, np.ones((len(theta), 1))))[:, 0])
        R = space.combine((R, np.eye(len(theta))[:, residuals > limits]))
        W = orthonormal(space, _directions(space, A, M, R), X, P)
        if W.shape[1] == 0:
            reason = Reason.STAGNATED
            break
        basis, images = (X, P, W), (AX, AP, A(W))
        theta, C = np.linalg.eigh(symmetric(finite(space.gram(basis, images))))
        nx = X.shape[1]
        theta, C, D = theta[:nx], C[:, :nx], _conjugate(C[:, :nx], nx)
        X, P, AX, AP = space.keep(*(combined(space, blocks, E) for blocks in (basis, images) for E in (C, D)))
    values, X = theta[:k], X[:, :k]
    limits, residuals = limits[:k], residual_norms(space, A, X, values)
    if reason is Reason.CONVERGED:
        reason = judged(residuals, limits, rounding)
    return (X,), Spectrum(values, residuals, limits, reason, iteration)


def _conjugate(C: NDArray[Any], nx: int) -> NDArray[Any]:
    """Coefficients of the directions to be kept: those of `C` but for the `nx` first rows, orthonormal, and to `C`."""
    D = C.copy()
    D[:nx] = 0
    Q, R, _ = scipy.linalg.qr(D - C @ (C.conj().T @ D), mode="economic", pivoting=True)
    Q = Q[:, np.abs(np.diag(R)) > 10 * np.finfo(Q.dtype).eps]
    again: NDArray[Any] = np.linalg.qr(Q - C @ (C.conj().T @ Q))[0]
    return again


def _directions(space: Space, A: Operator, M: Operator, R: Any) -> Any:
    """What takes the columns of `R` to zero, roughly: conjugate gradients for each, all at once.

    Where A turns out not to be positive definite they end with what they have.
    """
    ones = np.eye(R.shape[1])
    R, Z = space.keep(R, _each(space, M, R))
    D, P = None, Z
    rho = _diagonal(space, R, Z)
    if (rho < 0).any():
        raise EndedError(Reason.INDEFINITE_M)
    goal = INNER_RTOL**2 * rho
    active = rho > goal
    for _ in range(INNER_MAXITER):
        (Q,) = space.keep(A(P))
        curvature = _diagonal(space, P, Q)
        if (curvature[active] <= 0).any():
            break
        alpha = np.diag(np.divide(rho, curvature, out=np.zeros_like(rho), where=active))
        D = space.combine((P, alpha)) if D is None else space.combine((D, ones), (P, alpha))
        R = space.combine((R, ones), (Q, -alpha))
        D, R, Z = space.keep(D, R, _each(space, M, R))
        before, rho = rho, _diagonal(space, R, Z)
        (P,) = space.keep(space.combine((Z, ones), (P, np.diag(np.divide(rho, before, out=0 * rho, where=active)))))
        active &= rho > goal
        if not active.any():
            break
    return P if D is None else D


def _each(space: Space, M: Operator, R: Any) -> Any:
    """``M R``, column by column, as preconditioners take vectors."""
    return space.join(*(M(R[:, j]) for j in range(R.shape[1])))


def _diagonal(space: Space, X: Any, Y: Any) -> NDArray[Any]:
    """``x^H y`` of each column of two blocks, as real numbers."""
    products: NDArray[Any] = np.diag(finite(space.gram(X, Y))).real.copy()
    return products


def _norm(space: Space, A: Operator, v: Any) -> float:
    """The norm of A, estimated from below by a few steps of the Lanczos method."""
    v, _ = normalised(space, v)
    V: tuple[Any, ...] = (v,)
    T = np.zeros((NORM_STEPS, NORM_STEPS), np.result_type(v.dtype, np.float64))
    for j in range(NORM_STEPS):
        v, T[: j + 1, j], beta = extended(space, V, A(v[:, 0]))
        T[j, :j] = T[:j, j].conj()
        if beta == 0:
            break
        V = appended(space, V, v)
    return float(np.abs(np.linalg.eigvalsh(symmetric(T))).max())
