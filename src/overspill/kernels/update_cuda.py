"""Linear combinations of vectors on a GPU, each term read once."""

from typing import Any

import cupy

_scaled_sum = cupy.ElementwiseKernel("T a, T x, T b", "T y", "y = a * x + b * y", "overspill_scaled_sum")
_sum = cupy.ElementwiseKernel("T a, T x", "T y", "y += a * x", "overspill_sum")
_product = cupy.ElementwiseKernel("T a, T x", "T y", "y = a * x", "overspill_product")


def update(y: Any, *terms: tuple[complex, Any], scale: complex = 1.0) -> Any:
    """See `overspill.kernels.update.update`."""
    number = y.dtype.type
    first = True
    for a, x in terms:
        if first and scale == 0:
            _product(number(a), x, y)
        elif first and scale != 1:
            _scaled_sum(number(a), x, number(scale), y)
        else:
            _sum(number(a), x, y)
        first = False
    if first and scale != 1:
        y *= number(scale)
    return y
