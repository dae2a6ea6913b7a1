"""Solvers resident on a cluster's workers: one long task each, among which vectors stay where they are."""

from overspill.linalg.resident.solving import available, solve

__all__ = ["available", "solve"]
