"""Expressions on the CPU in one pass: NumPy's functions on blocks so short that what lies between them stays in cache.

NumPy's own loops are vectorised, also those of exp, tanh and their like, which compilers leave to one call an element.
Results are those of the same functions on whole arrays.

Arrays of one memory order are walked along it. Where orders differ, as in ``x + x.T``, blocks are parts of rows and of
columns, and what lies across them is gathered into rows first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.expression import Expression
from overspill.kernels.steps_numpy import steps_of
from overspill.memory.copying import block_shape, buffer_like, crossing_axes, cut, fastest_axis, gather
from overspill.memory.tile import empty, is_tile

BLOCK_NBYTES = 2**18
"""Bytes of a block: a handful of them fit the second-level cache of a core."""


def evaluate(expression: Expression, arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The outputs of `expression`: new arrays of the broadcast shape, in tiles where inputs in C order are.

    Parameters
    ----------
    expression
        What to compute.
    arrays
        Its inputs, of any shapes that broadcast, of the element types that it was traced for or of others that NumPy
        casts to these within their kind, as chunks may be that are not what their array says.
    """
    steps, scratch_dtypes = steps_of(expression)
    dtypes = expression.dtypes
    length = max(1, BLOCK_NBYTES // max(dtype.itemsize for dtype in (*expression.inputs, *dtypes, *scratch_dtypes)))
    scratch = [np.empty(length, dtype) for dtype in scratch_dtypes]
    make = empty if any(map(is_tile, arrays)) else None
    arrays = np.broadcast_arrays(*arrays)
    shape = arrays[0].shape
    if axes := crossing_axes(arrays):
        outputs = tuple((make or np.empty)(shape, dtype) for dtype in dtypes)
        blocks = _crosswise(arrays, expression.inputs, outputs, block_shape(shape, axes, length))
    else:
        fastest = {fastest_axis(x) for x in arrays}
        in_rows = len(shape) - 1 in fastest or fastest == {None}
        room = [make(shape, dtype) if make and in_rows else None for dtype in dtypes]
        outputs, blocks = _along(arrays, expression.inputs, room, dtypes, length)
    for operands in blocks:
        size, shape = operands[0].size, operands[0].shape
        registers = [*operands, *(each[:size].reshape(shape) for each in scratch)]
        for step in steps:
            step(registers)
    return outputs


Blocks = Iterator[Sequence[NDArray[Any]]]
"""Blocks of the inputs together with those of the outputs, to be filled as one goes."""


def _along(
    arrays: Sequence[NDArray[Any]],
    given: Sequence[np.dtype[Any]],
    outputs: Sequence[NDArray[Any] | None],
    made: Sequence[np.dtype[Any]],
    length: int,
) -> tuple[tuple[NDArray[Any], ...], Blocks]:
    """In the order that the elements of all arrays have in memory; the outputs, new ones for None, and the blocks."""
    flags: list[Any] = [["readonly"]] * len(given) + [["writeonly", "allocate"]] * len(made)
    walk = np.nditer(
        [*arrays, *outputs],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=flags,
        op_dtypes=[*given, *made],
        casting="same_kind",
        order="K",
        buffersize=length,
    )

    def blocks() -> Blocks:
        with walk:
            if walk.itersize:
                for operands in walk:
                    yield operands if isinstance(operands, tuple) else (operands,)

    return tuple(walk.operands[len(given) :]), blocks()


def _crosswise(
    arrays: Sequence[NDArray[Any]],
    given: Sequence[np.dtype[Any]],
    outputs: Sequence[NDArray[Any]],
    sizes: tuple[int, ...],
) -> Blocks:
    """In blocks of the shape `sizes`, of rows and columns alike, for outputs in C order."""
    readers = [_reader(x, dtype, sizes) for x, dtype in zip(arrays, given, strict=True)]
    for block in cut(arrays[0].shape, sizes):
        yield [*(read(block) for read in readers), *(x[block] for x in outputs)]


def _reader(
    x: NDArray[Any], dtype: np.dtype[Any], sizes: tuple[int, ...]
) -> Callable[[tuple[slice, ...]], NDArray[Any]]:
    """What gives blocks of `x` as elements of `dtype`, neighbours along the last axis."""
    if fastest_axis(x) in (None, x.ndim - 1):
        return lambda block: x[block].astype(dtype, casting="same_kind", copy=False)
    rows, buffer = np.empty(sizes, dtype), buffer_like(x, sizes, dtype)

    def read(block: tuple[slice, ...]) -> NDArray[Any]:
        source = x[block]
        target = rows[tuple(slice(size) for size in source.shape)]
        gather(target, source, buffer)
        return target

    return read
