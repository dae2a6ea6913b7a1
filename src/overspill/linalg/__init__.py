"""Solvers with SciPy's names and meanings, for matrices that need not fit in one process."""

from overspill.linalg.cg import cg
from overspill.linalg.operators import LinearOperator

__all__ = ["LinearOperator", "cg"]
