"""Sums of squares that neither overflow nor underflow where their root does not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.folds import pairwise_sum
from overspill.kernels.reduction import Box, Parts

SMALL, LARGE = 2.0**-511, 2.0**486
"""Between them squares of float64 are summed as they are; below and above they are scaled by powers of two."""

OF_SMALL, OF_LARGE = 2.0**537, 2.0**-538
"""The scales."""


@dataclass(frozen=True, slots=True)
class Squares:
    """Sums of squares of float64 numbers that are not negative: of small, of medium and of large ones.

    J. L. Blue, "A portable Fortran program to find the Euclidean norm of a vector", ACM Trans. Math. Softw. 4, 1978,
    with LAPACK's constants. A block goes into one sum as a whole.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the sums."""
        return np.dtype(np.float64)

    @property
    def parts(self) -> int:
        """Three."""
        return 3

    def empty(self) -> tuple[Any, ...]:
        """Three zeros."""
        return (0.0, 0.0, 0.0)

    def of_block(self, values: NDArray[Any], axes: tuple[int, ...]) -> Parts:
        """As if all were of medium size, and again where that went wrong."""
        with np.errstate(over="ignore", under="ignore"):
            sums = pairwise_sum(values * values, axes)
            safe = (sums > SMALL) & (sums < LARGE * LARGE)
            if safe.all():
                zero = np.zeros_like(sums)
                return zero, sums, zero
            largest = np.maximum.reduce(values, axis=axes, keepdims=True)
            small, large = ~safe & (largest < 1), ~safe & (largest > 1)
            scaled = values * np.where(small, OF_SMALL, np.where(large, OF_LARGE, 1.0))
            sums = pairwise_sum(scaled * scaled, axes)
        return np.where(small, sums, 0.0), np.where(small | large, 0.0, sums), np.where(large, sums, 0.0)

    def of_elements(self, xp: Any, values: Any, places: Any) -> Parts:
        """Each in the sum that it belongs to."""
        small, large = values < SMALL, values > LARGE
        medium = xp.where(small, 0.0, xp.where(large, 0.0, values))
        low, high = xp.where(small, values * OF_SMALL, 0.0), xp.where(large, values * OF_LARGE, 0.0)
        return low * low, medium * medium, high * high

    def located(self, parts: Parts, box: Box, axes: tuple[int, ...]) -> Parts:
        """The same everywhere."""
        return parts

    def merge(self, xp: Any, a: Parts, b: Parts) -> Parts:
        """Sum by sum."""
        return tuple(x + y for x, y in zip(a, b, strict=True))


def root(xp: Any, parts: Parts) -> Any:
    """The root of the sum of all squares."""
    small, medium, large = parts
    with_large = xp.sqrt(large + medium * OF_LARGE * OF_LARGE) / OF_LARGE
    return xp.where(large > 0, with_large, xp.hypot(xp.sqrt(medium), xp.sqrt(small) / OF_SMALL))
