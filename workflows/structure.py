"""The lowest vibration modes of a structure: the smallest eigenvalues of its stiffness matrix, and their vectors.

The matrix comes from a Matrix Market file, symmetric and positive definite, as SuiteSparse has them; without a file it
is that of a square membrane held at its rim, whose modes are known.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import dask
import dask.array as da
import numpy as np
import scipy.io
import scipy.sparse.linalg

import overspill as osp

MOST_FACTORISED = 50_000
"""Rows of a matrix whose eigenvalues are found once more by factorising it, in the check."""


@dataclass(frozen=True)
class Params:
    """Parameters of the structure and of the solver."""

    matrix: Path | None = None
    """The stiffness matrix, a Matrix Market file (.mtx or .mtx.gz); a membrane's unless given."""

    n: int = 40
    """Points along an edge of the membrane."""

    modes: int = 6
    """How many."""

    preconditioner: Literal["jacobi", "block_jacobi"] = "block_jacobi"
    """What speeds the iterations up."""

    tol: float = 1e-6
    """Residuals at the end, as a share of the eigenvalues; rounding of the largest one is the least."""

    maxiter: int = 1000
    """Iterations after which the solver gives up."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    def __post_init__(self) -> None:
        if self.n < 3:
            raise ValueError(f"n={self.n} leaves no membrane: take 3 or more")
        if self.modes < 1:
            raise ValueError(f"modes={self.modes} leaves nothing to do: take 1 or more")
        if not 0 <= self.tol < 1:
            raise ValueError(f"tol={self.tol} is no share of an eigenvalue: take 1e-6, say")
        if self.maxiter < 1:
            raise ValueError(f"maxiter={self.maxiter} allows no iteration: take 1 or more")


def build(params: Params) -> dict[str, da.Array]:
    A = stiffness(params.matrix, params.n)
    if not params.modes < A.shape[0]:
        raise osp.WorkflowError(f"modes={params.modes} of a matrix of {A.shape[0]} rows: ask for fewer")
    return {"diagonal": osp.to_host(A.diagonal())}


def solve(params: Params, results: dict) -> dict:
    A = stiffness(params.matrix, params.n).to_device()
    M = {"jacobi": osp.linalg.jacobi, "block_jacobi": osp.linalg.block_jacobi}[params.preconditioner](A)
    w, v = osp.linalg.eigsh(A, params.modes, which="SM", M=M, tol=params.tol, maxiter=params.maxiter)
    return {"eigenvalues": w, "modes": osp.to_host(v)}


def check(params: Params, results: dict) -> list[osp.Check]:
    """By SciPy's reader and SciPy's product, and by another method: factorising, or the membrane's formula."""
    w, v = dask.compute(results["eigenvalues"], results["modes"])
    A = by_scipy(params)
    rounding = np.finfo(np.float64).eps * scipy.sparse.linalg.norm(A)
    bounds = params.tol * w + 10 * rounding
    worst = float((np.linalg.norm(A @ v - v * w, axis=0) / bounds).max())
    skew = float(abs(v.T @ v - np.eye(len(w))).max())
    checks = [
        osp.Check(worst <= 1.01, f"residuals are {worst:.2g} of what was asked for at most, by SciPy", worst, 1.01),
        osp.Check(skew <= 1e-12, f"the modes are orthonormal within {skew:.1e}", skew, 1e-12),
    ]
    right = otherwise(params, A)
    if right is None:
        return checks
    error, bound = float(abs(w - right).max()), float(bounds.max())
    how = "the formula's" if params.matrix is None else "those of SciPy's factorisation"
    return [*checks, osp.Check(error <= bound, f"eigenvalues differ from {how} by {error:.1e}", error, bound)]


def present(params: Params, results: dict, directory: Path) -> list[Path]:
    print("eigenvalue      angular frequency, for a unit mass at each row")
    for value in results["eigenvalues"].compute():
        print(f"{value:<14.8g}  {np.sqrt(abs(value)):.8g}")
    return []


@cache
def stiffness(path: Path | None, n: int) -> osp.sparse.CSRMatrix:
    if path is None:
        return osp.sparse.poisson((n, n))
    A = osp.sparse.from_matrix_market(path, dtype=np.float64)
    if A.shape[0] != A.shape[1]:
        raise osp.WorkflowError(f"{path} holds a matrix of shape {A.shape}: a stiffness matrix is square")
    return A


def by_scipy(params: Params) -> scipy.sparse.csc_array:
    if params.matrix is not None:
        return scipy.sparse.csc_array(scipy.io.mmread(params.matrix, spmatrix=False), dtype=np.float64)
    edge = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(params.n, params.n))
    one = scipy.sparse.eye_array(params.n)
    return scipy.sparse.csc_array(scipy.sparse.kron(edge, one) + scipy.sparse.kron(one, edge))


def otherwise(params: Params, A: scipy.sparse.csc_array) -> np.ndarray | None:
    """The eigenvalues by another method; none for a matrix that is too large for it."""
    if params.matrix is None:
        along = 4 * np.sin(np.pi * np.arange(1, params.n + 1) / 2 / (params.n + 1)) ** 2
        return np.sort((along[:, None] + along).ravel())[: params.modes]
    if A.shape[0] > MOST_FACTORISED:
        return None
    return np.sort(scipy.sparse.linalg.eigsh(A, params.modes, sigma=0, return_eigenvectors=False))
