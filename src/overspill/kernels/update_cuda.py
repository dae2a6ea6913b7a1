"""Linear combinations of vectors on a GPU, each term read once."""

from typing import Any

import cupy

_scaled_sum = cupy.ElementwiseKernel("T a, T x, T b", "T y", "y = a * x + b * y", "overspill_scaled_sum")
_sum = cupy.ElementwiseKernel("T a, T x", "T y", "y += a * x", "overspill_sum")


def update(y: Any, *terms: tuple[complex, Any], scale: complex = 1.0) -> Any:
    """See `overspill.kernels.update.update`."""
    number = y.dtype.type
    if scale == 0:
        y.fill(0)
    elif scale != 1 and not terms:
        y *= number(scale)
    for position, (a, x) in enumerate(terms):
        if position or scale in (0, 1):
            _sum(number(a), x, y)
        else:
            _scaled_sum(number(a), x, number(scale), y)
    return y
