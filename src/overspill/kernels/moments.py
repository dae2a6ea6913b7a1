"""Mean and sum of squared distances from it, by which variances lose nothing to a large mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.folds import pairwise_sum
from overspill.kernels.reduction import Box, Parts


@dataclass(frozen=True, slots=True)
class Moments:
    """Number of elements, mean, and sum of squared distances from the mean.

    Blocks take two passes, with the correction for the mean's own rounding; records are merged in pairs as in T. F.
    Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the sample variance", The American Statistician 37,
    1983.

    Attributes
    ----------
    dtype
        Of the elements and of their mean: float64, or complex128, or wider.
    """

    dtype: np.dtype[Any]

    @property
    def parts(self) -> int:
        """Three."""
        return 3

    def empty(self) -> tuple[Any, ...]:
        """Three zeros."""
        return (0.0, 0.0, 0.0)

    def of_block(self, values: NDArray[Any], axes: tuple[int, ...]) -> Parts:
        """In two passes."""
        mean = pairwise_sum(values, axes)
        size = values.size // max(mean.size, 1)
        mean = mean / size
        distances = values - mean
        rest = pairwise_sum(distances, axes)
        squares = pairwise_sum(_product(np, distances, distances), axes) - _product(np, rest, rest) / size
        return np.full(mean.shape, float(size)), mean, squares

    def of_elements(self, xp: Any, values: Any, places: Any) -> Parts:
        """Each element its own mean."""
        known = values == values
        true, false = known == known, known != known  # constants of the elements' shape, in a fused kernel too
        return true.astype(np.float64), values, false.astype(np.float64)

    def located(self, parts: Parts, box: Box, axes: tuple[int, ...]) -> Parts:
        """The same everywhere."""
        return parts

    def merge(self, xp: Any, a: Parts, b: Parts) -> Parts:
        """Chan, Golub and LeVeque's formulas for samples of different sizes, of which one may be empty."""
        (n_a, mean_a, squares_a), (n_b, mean_b, squares_b) = a, b
        n = n_a + n_b
        share = n_b / xp.maximum(n, 1.0)
        distance = mean_b - mean_a
        # Weighted before it is squared, which may overflow: next to an empty sample no distance counts.
        between = _product(xp, distance, distance * (n_a * share))
        return n, mean_a + distance * share, squares_a + squares_b + between


def _product(xp: Any, x: Any, y: Any) -> Any:
    """The real part of the product of `x`, conjugated, and `y`."""
    if x.dtype.kind != "c":
        return x * y
    return xp.real(x) * xp.real(y) + xp.imag(x) * xp.imag(y)
