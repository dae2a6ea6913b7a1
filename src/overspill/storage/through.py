"""From stored chunks through an elementwise function to stored chunks, a piece at a time.

Blocks that are read, computed and written as wholes go over the memory bus six times, and their pages are made anew for
each block. Pieces that fit the core's cache spare most of that.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from math import prod
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from overspill.kernels.blocks_numpy import Blocks
from overspill.kernels.expression import Expression
from overspill.kernels.fused_numpy import BLOCK_NBYTES, evaluate
from overspill.kernels.origin import origin_of
from overspill.storage.layout import region
from overspill.storage.records import BlockId, Save
from overspill.storage.stored import StoredArray, stored_in


@dataclass(frozen=True, slots=True)
class Passage:
    """An array whose every chunk follows from the same chunk of stored arrays.

    Attributes
    ----------
    expression
        Its elements.
    sources
        Raw arrays, of its shape and of one chunk shape: the inputs of `expression`.
    """

    expression: Expression
    sources: tuple[StoredArray, ...]

    def block(self, part: tuple[slice, ...]) -> NDArray[Any]:
        """The elements of `part`."""
        return evaluate(self.expression, [source[part] for source in self.sources])[0]

    def pieces(self, index: tuple[int, ...]) -> Iterator[NDArray[Any]]:
        """The elements of a chunk in C order, some at a time; they lie there until the next ones come."""
        size = prod(self.sources[0].chunks)
        length = min(size, max(1, BLOCK_NBYTES // max(dtype.itemsize for dtype in self.expression.inputs)))
        buffers = [np.empty(length, source.dtype) for source in self.sources]
        blocks = Blocks(self.expression, buffers, (length,), itemsize=1)
        with ExitStack() as stack:
            readers = [
                stack.enter_context(closing(source.pieces(index, buffer)))
                for source, buffer in zip(self.sources, buffers, strict=True)
            ]
            for filled, *_ in zip(*readers, strict=True):
                for start in range(0, filled.size, blocks.shape[0]):
                    yield blocks.values((slice(start, min(start + blocks.shape[0], filled.size)),))


def passage(x: da.Array, save: Save) -> Passage | None:
    """How `x` follows from stored chunks, if each block of `save` is the same chunk of all of them; else None."""
    origin = origin_of(x)
    sources = tuple(map(stored_in, origin.arrays))
    one_for_one = all(
        size == side or (number == len(sizes) - 1 and size < side)
        for sizes, side in zip(save.blocks, save.chunk_shape, strict=True)
        for number, size in enumerate(sizes)
    )
    if not one_for_one or origin.expression.dtypes != (np.dtype(save.dtype),):
        return None
    fitting = tuple(
        source
        for source in sources
        if source and source.raw and (source.shape, source.chunks) == (save.shape, save.chunk_shape)
    )
    return Passage(origin.expression, fitting) if len(fitting) == len(sources) else None


def is_whole(save: Save, block_id: BlockId) -> bool:
    """Whether the block is a chunk that ends within the array."""
    part = region(save.blocks, block_id)
    return tuple(axis.stop - axis.start for axis in part) == save.chunk_shape
