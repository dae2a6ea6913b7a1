"""Reductions of expressions on the CPU in one pass: each block is computed and accumulated while it lies in cache."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.blocks_numpy import Blocks
from overspill.kernels.expression import Expression
from overspill.kernels.reduction import Box, Parts, Reduction, merged, stacked


def reduce(
    reduction: Reduction,
    expression: Expression,
    axes: tuple[int, ...],
    arrays: Sequence[NDArray[Any]],
    box: Box,
) -> NDArray[Any]:
    """The records of a chunk, as one array; what they are depends on shapes and values alone, not on memory layouts.

    Parameters
    ----------
    reduction
        What is kept of the elements.
    expression
        The elements, of a type that `reduction` takes, in terms of `arrays`.
    axes
        The axes that are reduced.
    arrays
        Inputs of the expression, of shapes that broadcast to the chunk's, and of its types or such as NumPy casts to
        them within their kind.
    box
        The chunk as part of the array.

    Returns
    -------
    numpy.ndarray
        Of the chunk's shape, but 1 along `axes`, with the parts of each record along a last axis.
    """
    shape = box.shape
    if not shape:
        one = Box((1,), (0,), (1,))
        return reduce(reduction, expression, (0,), [x.reshape(1) for x in arrays], one).reshape(reduction.parts)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    records = np.empty((*kept, reduction.parts), reduction.dtype)
    records[...] = reduction.empty()
    if not math.prod(shape):
        return records
    blocks = Blocks(expression, arrays, shape, reduction.dtype.itemsize)
    cuts = blocks.cuts()
    whole = (slice(None),)
    for kept_box in itertools.product(*(whole if i in axes else cut for i, cut in enumerate(cuts))):
        boxes = itertools.product(*(cut if i in axes else (kept_box[i],) for i, cut in enumerate(cuts)))
        parts = merged(lambda a, b: reduction.merge(np, a, b), _each(reduction, axes, blocks, box, boxes))
        records[kept_box] = stacked(reduction, np, parts)
    return records


def _each(
    reduction: Reduction,
    axes: tuple[int, ...],
    blocks: Blocks,
    chunk: Box,
    parts: Iterator[tuple[slice, ...]],
) -> Iterator[Parts]:
    for part in parts:
        yield reduction.located(reduction.of_block(blocks.values(part), axes), chunk.within(part), axes)
