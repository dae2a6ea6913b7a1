"""Solvers with SciPy's names and meanings, for matrices that need not fit in one process."""

__all__: list[str] = []
