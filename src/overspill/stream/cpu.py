"""The CPU as a device: panels are views of the chunks where BLAS can read them, packed copies where it cannot."""

from collections.abc import Iterable
from contextlib import nullcontext
from itertools import cycle
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overspill import memory
from overspill.kernels import blas, integer
from overspill.planning.arithmetic import Arithmetic
from overspill.stream.buffers import Buffers
from overspill.stream.device import SLOTS, TileShape
from overspill.stream.strip import Part

Array = NDArray[Any]


class CPU:
    """One core, or however many BLAS is allowed, working in host memory."""

    def __init__(self) -> None:
        self.buffers = Buffers(lambda nbytes: np.empty(nbytes, np.uint8), drop=lambda nbytes: None)
        self.link = self.turn = nullcontext()  # each task has cores of its own

    def open(
        self, shape: TileShape, dtype: str, arithmetic: Arithmetic, *, keep_on_device: bool, in_turn: bool
    ) -> "CPUTileStream":
        """Begin an output tile; where the result is kept and whose turn it is change nothing."""
        return CPUTileStream(self.buffers, shape, dtype, arithmetic)

    def give_way(self, nbytes: int) -> None:
        """Nobody waits for another task's panels."""


class CPUTileStream:
    """One output tile on the CPU, where everything is done by the time a call returns."""

    def __init__(self, buffers: Buffers, shape: TileShape, dtype: str, arithmetic: Arithmetic) -> None:
        self._shape = shape
        self._tile = memory.empty(shape.actual, dtype)
        self._exact = arithmetic.rate == "integer"
        # float16 is widened, for BLAS does not know it; integers stay as they are until their limbs are taken.
        self._panel_dtype = np.dtype("float32" if dtype == "float16" else dtype)
        self._sum_dtype = np.dtype("int64") if self._exact else self._panel_dtype
        self._sum = self._tile if self._tile.dtype == self._sum_dtype else np.empty(shape.actual, self._sum_dtype)
        self._begun = False
        self._buffers = buffers
        self._packed: dict[tuple[int, int], tuple[int, Array]] = {}
        self._order = cycle(range(SLOTS))

    def next_slot(self) -> int:
        """The pair of buffers for the next panels."""
        return next(self._order)

    def make_room(self) -> None:
        """There is room already: the sum grows where the tile will be."""

    def upload(self, operand: Literal[0, 1], slot: int, parts: Iterable[Part], shape: tuple[int, int]) -> Array:
        """The panel, as a view of its only part or packed into the slot's buffer."""
        panel = None
        for part in parts:
            whole = part.array.shape == shape and part.array.dtype == self._panel_dtype
            if whole and (self._exact or blas.has_unit_stride(part.array)):
                whole_panel: Array = part.array
                return whole_panel
            if panel is None:
                panel = self._buffer(operand, slot, shape, like=part.array)
            rows, columns = part.array.shape
            target = panel[part.side : part.side + rows, part.width : part.width + columns]
            np.copyto(target, part.array, casting="same_kind")
        assert panel is not None
        return panel

    def multiply(self, slot: int, a: Array, b: Array, *, last: bool = False) -> None:
        """Add ``a @ b.T``."""
        if self._exact:
            if not self._begun:
                self._sum[...] = 0
            integer.add_product(a, b.T, self._sum)
        else:
            blas.gemm(a, b.T, self._sum, accumulate=self._begun)
        self._begun = True

    def download(self) -> Array:
        """The tile, cut to its element type."""
        if self._sum is not self._tile:
            if self._tile.dtype.kind == "b":
                np.not_equal(self._sum, 0, out=self._tile)
            else:
                np.copyto(self._tile, self._sum, casting="unsafe")
        return self._tile

    def close(self) -> None:
        """Hand the packing buffers back."""
        while self._packed:
            _, (nbytes, buffer) = self._packed.popitem()
            self._buffers.give(nbytes, buffer)

    def _buffer(self, operand: Literal[0, 1], slot: int, shape: tuple[int, int], like: Array) -> Array:
        """The slot's packing buffer as a matrix of `shape`, in the order of memory that the chunks have."""
        if (operand, slot) not in self._packed:
            nbytes = self._shape.panel_size(operand) * self._panel_dtype.itemsize
            self._packed[operand, slot] = nbytes, self._buffers.take(nbytes)
        _, buffer = self._packed[operand, slot]
        order: Literal["F", "C"] = "F" if abs(like.strides[0]) < abs(like.strides[1]) else "C"
        return np.ndarray(shape, self._panel_dtype, buffer=buffer, order=order)
