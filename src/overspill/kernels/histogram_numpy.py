"""Histograms of expressions on the CPU in one pass: each block is computed and counted while it lies in cache."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.blocks_numpy import Blocks
from overspill.kernels.expression import Expression


def count(
    expression: Expression,
    arrays: Sequence[NDArray[Any]],
    bins: int | NDArray[Any],
    limits: tuple[float, float] | None,
) -> NDArray[np.int64]:
    """How many elements of a chunk lie in each bin, exactly as `numpy.histogram` counts them.

    Parameters
    ----------
    expression
        The elements, real, in terms of `arrays`.
    arrays
        Inputs of the expression, of shapes that broadcast.
    bins, limits
        Edges; or a number of bins of one width, and the outer edges.
    """
    shape = np.broadcast_shapes(*(x.shape for x in arrays)) or (1,)
    counts = np.zeros(bins if isinstance(bins, int) else len(bins) - 1, np.int64)
    if math.prod(shape):
        blocks = Blocks(expression, arrays, shape, np.dtype(np.int64).itemsize)
        for box in itertools.product(*blocks.cuts()):
            counts += np.histogram(blocks.values(box), bins, limits)[0]
    return counts
