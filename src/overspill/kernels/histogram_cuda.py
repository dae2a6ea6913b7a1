"""Histograms of expressions on a GPU, by CuPy's own."""

from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from overspill.kernels import fused_cuda
from overspill.kernels.expression import Expression


def count(
    expression: Expression,
    arrays: Sequence[Any],
    bins: int | NDArray[Any],
    limits: tuple[float, float] | None,
) -> Any:
    """Queue the count of a chunk's elements, bin by bin; the twin of `histogram_numpy.count`, but elements are made."""
    (values,) = fused_cuda.evaluate(expression, arrays)
    edges = np.histogram_bin_edges(np.empty(0, values.dtype), bins, limits)
    if not values.size:
        return cupy.zeros(len(edges) - 1, np.int64)
    if values.dtype.kind != "f":
        return cupy.histogram(values.ravel(), edges)[0]
    # What is not a number CuPy would count: beyond the last bin it does not, unless that one has no end.
    counts = cupy.histogram(cupy.where(values == values, values, np.inf).ravel(), edges)[0]
    if edges[-1] == np.inf:
        counts[-1] = cupy.count_nonzero(values >= edges[-2])
    return counts
