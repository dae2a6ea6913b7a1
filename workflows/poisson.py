"""−Δu = f in the unit cube, u = 0 on its faces, by conjugate gradients over as many points as you like.

f is such that u = g(x)·g(y)·g(z) with g(t) = t·(1 − t)·exp(t): the error is known at every point.
"""

from dataclasses import dataclass
from typing import Literal

import dask.array as da
import numpy as np

import overspill as osp

MOST_ERROR = 0.26
"""Of the seven-point stencil, in units of h²: 1/12 times fourth derivatives, 25 at most, over 8 (maximum principle)."""


@dataclass(frozen=True)
class Params:
    """Parameters of the problem and of its solver."""

    n: int = 48
    """Points along an edge of the cube, without those on its faces."""

    rtol: float = 1e-8
    """The norm of the residual at the end, as a share of the right-hand side's."""

    preconditioner: Literal["none", "jacobi", "chebyshev"] = "chebyshev"
    """What speeds the iterations up."""

    maxiter: int = 10_000
    """Iterations after which the solver gives up."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ValueError(f"n={self.n} leaves no grid: take 2 or more")
        if not 0 < self.rtol < 1:
            raise ValueError(f"rtol={self.rtol} is no share of the right-hand side: take a number between 0 and 1")
        if self.maxiter < 1:
            raise ValueError(f"maxiter={self.maxiter} allows no iteration: take 1 or more")

    @property
    def h(self) -> float:
        """Distance of neighbouring points."""
        return 1 / (self.n + 1)


@osp.elementwise
def solution(x, y, z):
    """The solution u."""
    return x * (1 - x) * y * (1 - y) * z * (1 - z) * np.exp(x + y + z)


@osp.elementwise
def source(x, y, z):
    """The source f, since g'' is −t·(3 + t)·exp(t)."""
    a, b, c = x * (1 - x), y * (1 - y), z * (1 - z)
    return (x * (3 + x) * b * c + y * (3 + y) * a * c + z * (3 + z) * a * b) * np.exp(x + y + z)


def build(params: Params) -> dict[str, da.Array]:
    return {"b": osp.to_host(params.h**2 * source(*points(params)))}


def solve(params: Params, results: dict) -> dict:
    A = matrix(params).to_device()
    M = {"none": None, "jacobi": osp.linalg.jacobi, "chebyshev": osp.linalg.chebyshev}[params.preconditioner]
    u, info = osp.linalg.cg(A, results["b"], rtol=params.rtol, maxiter=params.maxiter, M=M and M(A))
    return {"u": osp.to_host(u), "info": info}


def check(params: Params, results: dict) -> list[osp.Check]:
    u, b = results["u"], results["b"]
    norm_of_b = float(osp.norm(b).compute())
    residual = float(osp.norm(b - stencil(u, params.n)).compute()) / norm_of_b
    error = float(abs(u - solution(*points(params))).max().compute())
    bound = MOST_ERROR * params.h**2 + params.rtol * norm_of_b / params.h**2 / 8
    finished = "" if results["info"] == 0 else f"; the solver gave up (info={results['info']})"
    return [
        osp.Check(
            residual <= 1.01 * params.rtol,
            f"the residual is {residual:.1e} of the right-hand side, by differences of neighbours{finished}",
            residual,
            1.01 * params.rtol,
        ),
        osp.Check(
            error <= bound, f"u is off the solution by {error:.1e} at most, {error / params.h**2:.2f} h²", error, bound
        ),
    ]


def matrix(params: Params) -> osp.sparse.CSRMatrix:
    """The stencil, times h²."""
    return osp.sparse.poisson((params.n,) * 3, stencil=7)


def points(params: Params) -> list[da.Array]:
    """Coordinates of all points, in the order of the matrix's rows and cut as they are."""
    n, h = params.n, params.h
    index = da.arange(n**3, chunks=(matrix(params).row_chunks,))
    return [(digit + 1) * h for digit in (index // n**2, index // n % n, index % n)]


def stencil(u: da.Array, n: int) -> da.Array:
    """The product with the matrix, by slices of the cube instead."""
    cube = da.pad(u.reshape(n, n, n), 1)
    inner = slice(1, -1)
    total = 6 * cube[inner, inner, inner]
    for axis in range(3):
        for shifted in (slice(None, -2), slice(2, None)):
            index = [inner] * 3
            index[axis] = shifted
            total = total - cube[tuple(index)]
    return total.reshape(-1)
