"""Solvers with SciPy's names and meanings, for matrices that need not fit in one process."""

from overspill.linalg.bicgstab import bicgstab
from overspill.linalg.block_jacobi import block_jacobi
from overspill.linalg.cg import cg
from overspill.linalg.chebyshev import chebyshev
from overspill.linalg.eigsh import eigsh
from overspill.linalg.gmres import gmres
from overspill.linalg.jacobi import jacobi
from overspill.linalg.minres import minres
from overspill.linalg.operators import LinearOperator
from overspill.linalg.pagerank import pagerank
from overspill.linalg.power_iteration import power_iteration
from overspill.linalg.preconditioner import Preconditioner
from overspill.linalg.svds import svds

__all__ = [
    "LinearOperator",
    "Preconditioner",
    "bicgstab",
    "block_jacobi",
    "cg",
    "chebyshev",
    "eigsh",
    "gmres",
    "jacobi",
    "minres",
    "pagerank",
    "power_iteration",
    "svds",
]
