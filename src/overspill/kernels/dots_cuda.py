"""Inner products of several pairs of vectors on a GPU, by a kernel that reads what pairs share once."""

from typing import Any

import cupy
import numpy as np

from overspill.kernels.compiled import THREADS, kernel, multiprocessors
from overspill.kernels.sources import MOST_PAIRS

BLOCKS = 8
"""Thread blocks for each multiprocessor, at most: as many as it holds."""


def dots(*pairs: tuple[Any, Any]) -> Any:
    """See `overspill.kernels.dots.dots`."""
    dtype = np.result_type(np.float32, *(x.dtype for pair in pairs for x in pair))
    size = pairs[0][0].size
    blocks = min(-(-size // THREADS), BLOCKS * multiprocessors()) or 1
    partial = cupy.empty((blocks, len(pairs)), np.result_type(np.float64, dtype))
    flat: dict[int, Any] = {id(x): _flat(x, dtype) for pair in pairs for x in pair}
    for first in range(0, len(pairs), MOST_PAIRS):
        group = pairs[first : first + MOST_PAIRS]
        vectors = [flat[id(x)] for pair in group for x in pair]
        vectors += vectors[:1] * (2 * (MOST_PAIRS - len(group)))
        kernel("dots", "dots", dtype.name, partial.dtype.name, len(group))(
            (blocks,), (THREADS,), (np.int64(size), np.int64(first), np.int64(len(pairs)), *vectors, partial)
        )
    return partial.sum(axis=0)


def _flat(x: Any, dtype: np.dtype[Any]) -> Any:
    return cupy.ascontiguousarray(x.astype(dtype, copy=False)).reshape(-1)
