"""Parts of panels that are multiplied where they lie."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cases import assert_product, cuts, matrix
from overspill.planning.grid import even, intervals
from overspill.stream.panel import Parts, products
from overspill.stream.strip import Part

Cuts = tuple[int, ...]


def cut(x: NDArray[np.float64], side: Cuts, width: Cuts) -> Parts:
    """The matrix as a panel, what comes first along its width first."""
    return [
        Part(x[start:stop, left:right], start, left)
        for left, right in intervals(width)
        for start, stop in intervals(side)
    ]


@settings(deadline=None)
@given(cuts(20), cuts(20), cuts(20), st.integers(1, 100), st.integers(1, 100))
def test_products_of_parts_add_up_whatever_the_cuts(a: Cuts, b: Cuts, a_width: Cuts, b_width: int, band: int) -> None:
    m, n, k = sum(a), sum(b), sum(a_width)
    x, y = matrix((m, k), "float64", 1), matrix((n, k), "float64", 2)
    total = np.full((m, n), np.nan)
    for start, stop in intervals(even(m, band)):
        parts = products(cut(x, a, a_width), cut(y, b, even(k, b_width)), slice(start, stop))
        for p, q, where, first in parts:
            total[where] = p @ q if first else total[where] + p @ q
    assert_product(total, x, y.T)
