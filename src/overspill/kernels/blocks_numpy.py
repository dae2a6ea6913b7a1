"""The values of an expression on the CPU, a block at a time, in memory that stays in cache."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels import fused_numpy
from overspill.kernels.expression import Expression
from overspill.kernels.steps_numpy import steps_of


class Blocks:
    """The values of an expression of one output, block by block.

    Parameters
    ----------
    expression
        The expression.
    arrays
        Its inputs, of shapes that broadcast to `shape`.
    shape
        Of all values together, none of them zero.
    itemsize
        Bytes of the numbers that values are turned into while they are in cache.

    Attributes
    ----------
    shape
        Of a block: as many of the last axes as fit, so that blocks of arrays in C order are contiguous.
    """

    def __init__(
        self, expression: Expression, arrays: Sequence[NDArray[Any]], shape: tuple[int, ...], itemsize: int
    ) -> None:
        self._steps, scratch = steps_of(expression)
        self._whole = shape
        self._arrays = [np.broadcast_to(x, shape) for x in arrays]
        self._dtypes = expression.inputs
        itemsizes = [dtype.itemsize for dtype in (*expression.inputs, *expression.dtypes, *scratch)]
        length = max(1, fused_numpy.BLOCK_NBYTES // max(itemsize, *itemsizes))
        self.shape = _block_shape(shape, length)
        self._copies: list[NDArray[Any] | None] = [None] * len(arrays)
        self._own = [np.empty(math.prod(self.shape), dtype) for dtype in (*expression.dtypes, *scratch)]
        self._computes = bool(expression.calls)

    def cuts(self) -> list[list[slice]]:
        """Where blocks begin and end, axis by axis."""
        return [
            [slice(first, min(first + step, size)) for first in range(0, size, step)]
            for size, step in zip(self._whole, self.shape, strict=True)
        ]

    def values(self, box: tuple[slice, ...]) -> NDArray[Any]:
        """The values in `box`: contiguous, and the caller's until it asks for the next ones, but not to write to."""
        inputs = [self._input(number, x[box]) for number, x in enumerate(self._arrays)]
        if not self._computes:
            return inputs[0]
        shape, size = inputs[0].shape, inputs[0].size
        registers = [*(x.reshape(-1) for x in inputs), *(x[:size] for x in self._own)]
        for step in self._steps:
            step(registers)
        return registers[len(inputs)].reshape(shape)

    def _input(self, number: int, view: NDArray[Any]) -> NDArray[Any]:
        """`view` if it is contiguous and of the type that the expression is for, else a copy that is."""
        dtype = self._dtypes[number]
        if view.flags.c_contiguous and view.flags.aligned and view.dtype == dtype:
            return view
        copy = self._copies[number]
        if copy is None:
            copy = self._copies[number] = np.empty(math.prod(self.shape), dtype)
        copied = copy[: view.size].reshape(view.shape)
        np.copyto(copied, view, casting="same_kind")
        return copied


def _block_shape(shape: Sequence[int], length: int) -> tuple[int, ...]:
    """The shape of a block of `length` elements at most, full along as many of the last axes as fit."""
    sizes = []
    for size in reversed(shape):
        sizes.append(min(size, length))
        length //= sizes[-1]
        length = max(length, 1)
    return tuple(reversed(sizes))
