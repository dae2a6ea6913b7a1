"""How far rounding can take a computed product times random signs from the true one, row by row.

Notation and theorems of N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, chapter 3.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from overspill.errors import ArrayError

Rows = np.ndarray[Any, np.dtype[np.float64]]

FALSE_ALARM = 2.0**-40
"""Chance that a product without a fault exceeds the probabilistic one of the two bounds, over all rows and vectors."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An (m, k) by (k, n) product of `dtype`, and how many random vectors it is checked with."""

    dtype: np.dtype[Any]
    m: int
    n: int
    k: int
    vectors: int


def row_bounds(problem: Problem, absolute: Rows, a_squares: Rows, b_squares: float) -> Rows:
    """For each row the largest deviation of C·X from A·(B·X) that rounding explains.

    Parameters
    ----------
    problem
        What was computed.
    absolute
        |A|·(|B|·1), of shape (m,).
    a_squares
        Squares of the 2-norms of the rows of A, of shape (m,).
    b_squares
        Square of the Frobenius norm of B.
    """
    accumulator = np.finfo(np.float32 if problem.dtype == np.float16 else problem.dtype)
    stored = np.finfo(problem.dtype)
    steps = 2 * problem.k + 2 if problem.dtype.kind == "c" else problem.k
    root = math.sqrt(2) if problem.dtype.kind == "c" else 1.0
    relative = root * _gamma(steps, float(accumulator.eps) / 2, problem)
    if stored.dtype != accumulator.dtype:
        relative += float(stored.eps) / 2 * (1 + relative)
    # P(|Σ e_j x_j| > λ ‖e‖) <= 2 exp(-λ²/2) for random signs x, twice that for a complex e.
    chances = 4 * problem.m * problem.vectors / FALSE_ALARM
    scattered = math.sqrt(2 * math.log(chances)) * np.sqrt(a_squares) * math.sqrt(b_squares)
    product = relative * np.minimum(absolute, np.where(np.isfinite(scattered), scattered, np.inf))
    underflow = problem.n * (2 * problem.k * float(accumulator.smallest_subnormal) + float(stored.smallest_subnormal))
    # The check itself: C·X, B·X and A·(B·X), each in float64, and the bound's own rounding in the factor at the end.
    own_steps = 2 * (problem.n + problem.k) + 8
    own = 3 * root * _gamma(own_steps, 2.0**-53, problem) * absolute
    return np.asarray((product + own + underflow) * 1.01, dtype=np.float64)


def _gamma(steps: int, u: float, problem: Problem) -> float:
    if steps * u >= 0.5:
        raise ArrayError(
            f"a sum of {problem.k} terms in {problem.dtype} has no rounding bound: "
            "check a product of a wider type, or of fewer columns"
        )
    return steps * u / (1 - steps * u)
