"""The one table of linear systems and of the solvers that are to solve each, for all tests of solvers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg

import overspill as osp

RTOL = 1e-8


@dataclass(frozen=True)
class System:
    """A linear system: a sparse matrix, a right hand side, a first guess if there is one, and what the matrix is."""

    name: str
    A: sp.csr_array
    b: np.ndarray
    x0: np.ndarray | None = None
    hermitian: bool = False
    definite: bool = False


@dataclass(frozen=True)
class Solver:
    """A solver of ours, SciPy's of the same name, and what it asks of a matrix."""

    solve: Callable[..., Any]
    scipy: Callable[..., Any]
    hermitian: bool = False
    definite: bool = False

    def takes(self, system: System) -> bool:
        return (system.hermitian or not self.hermitian) and (system.definite or not self.definite)


SOLVERS = {
    "cg": Solver(osp.linalg.cg, scipy.sparse.linalg.cg, hermitian=True, definite=True),
    "minres": Solver(osp.linalg.minres, scipy.sparse.linalg.minres, hermitian=True),
    "bicgstab": Solver(osp.linalg.bicgstab, scipy.sparse.linalg.bicgstab),
    "gmres": Solver(osp.linalg.gmres, scipy.sparse.linalg.gmres),
}


def beside(n: int, lower: complex, diagonal: complex, upper: complex) -> sp.csr_array:
    """A tridiagonal matrix."""
    dtype = np.result_type(type(lower), type(diagonal), type(upper))
    return sp.diags_array([lower, diagonal, upper], offsets=[-1, 0, 1], shape=(n, n), dtype=dtype).tocsr()


def poisson(n: int) -> sp.csr_array:
    """The five-point matrix of a grid of n by n points."""
    line, one = beside(n, -1.0, 2.0, -1.0), sp.eye_array(n)
    return sp.csr_array(sp.kron(line, one) + sp.kron(one, line))


def _systems() -> list[System]:
    rng = np.random.default_rng(5)
    n = 8
    A = poisson(n)
    size = A.shape[0]
    b = rng.standard_normal(size)
    flow = sp.csr_array(A + sp.kron(beside(n, -0.4, 0.0, 0.4), sp.eye_array(n)))
    waves = sp.csr_array(A + 1j * sp.kron(beside(n, -0.4, 0.0, 0.4), sp.eye_array(n)) + 0.5 * sp.eye_array(size))
    ring = beside(20, -1.0, 2.0, -1.0).tolil()
    ring[0, -1] = ring[-1, 0] = -1.0
    around = np.cos(2 * np.pi * np.arange(20) / 20) + np.sin(6 * np.pi * np.arange(20) / 20)
    steep = sp.diags_array(np.logspace(0, 1.5, size))
    scale = sp.diags_array(np.logspace(0, 0.7, size))
    return [
        System("spd", A, b, hermitian=True, definite=True),
        System("spd of single precision", A.astype("f4"), b.astype("f4"), hermitian=True, definite=True),
        System("a first guess", A, b, rng.standard_normal(size), hermitian=True, definite=True),
        System("an exact first guess", A, A @ b, b.copy(), hermitian=True, definite=True),
        System("nothing to do", A, np.zeros(size), rng.standard_normal(size), hermitian=True, definite=True),
        System("badly scaled", sp.csr_array(scale @ A @ scale), b, hermitian=True, definite=True),
        System("ill-conditioned", sp.csr_array(steep @ A @ steep), b, hermitian=True, definite=True),
        System("singular and consistent", ring.tocsr(), around, hermitian=True, definite=True),
        System("one equation", sp.csr_array([[4.0]]), np.array([2.0]), hermitian=True, definite=True),
        System("indefinite", sp.csr_array(A - 0.7 * sp.eye_array(size)), b, hermitian=True),
        System("complex and hermitian", waves, b + 1j * b[::-1], hermitian=True, definite=True),
        System("nonsymmetric", flow, b),
        System("complex", sp.csr_array(flow + 0.3j * A), b + 0j),
        System("complex right hand side", flow, b - 1j * b[::-1]),
    ]


SYSTEMS = {system.name: system for system in _systems()}

PAIRS = [(name, system.name) for name, solver in SOLVERS.items() for system in SYSTEMS.values() if solver.takes(system)]
"""Every solver with every system that it is to solve."""

DIFFERENT = (
    "spd of single precision",
    "nothing to do",
    "singular and consistent",
    "complex and hermitian",
    "complex right hand side",
)
"""Systems that differ in what they ask of a place to run, where iterations are slow."""


def rtol_for(system: System) -> float:
    """A tolerance that the system's precision allows."""
    return 1e-4 if system.A.dtype.char in "fF" else RTOL


def residual(system: System, x: np.ndarray) -> float:
    """Norm of the true residual over that of the right hand side; the latter's own where that is zero."""
    norm = float(np.linalg.norm(system.b))
    return float(np.linalg.norm(system.b - system.A @ x)) / (norm or 1.0)
