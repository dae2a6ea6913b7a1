"""How panels come to a GPU: copied side by side into a slot's buffer, or not at all where they may stay as they are."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime

from overspill.memory.pinning import pin
from overspill.memory.store.memory_cuda import queued
from overspill.stream.device import TileShape
from overspill.stream.panel import Parts, lie_well
from overspill.stream.slots_cuda import Key, Slots
from overspill.stream.strip import Part

LEAST_SIDES = {"float64": 6144}
"""Rows, and columns, of parts on average that are multiplied where they lie. On an H200 that takes no buffers, and with
chunks of 8192² 1 % longer than copies; blocks of 6144² are as fast as those of 8192², of 4096² 0.6 % slower
(`benchmarks/gemm_blocks_gpu.py`). Other types have not been measured, and are copied."""


class Uploads:
    """The panels of one output tile.

    Parameters
    ----------
    slots
        The buffers, with the events after which they are filled, and after which that is multiplied.
    copying
        The stream that copies.
    shape
        The tile's, and the width for which buffers are made.
    dtype
        Element type of panels.
    take
        What a buffer of so many bytes is taken from.
    """

    def __init__(
        self,
        slots: Slots,
        copying: cupy.cuda.Stream,
        shape: TileShape,
        dtype: np.dtype[Any],
        take: Callable[[int], cupy.cuda.MemoryPointer],
    ) -> None:
        self._slots = slots
        self._copying = copying
        self._shape = shape
        self._dtype = dtype
        self._take = take
        self._sources: dict[Key, list[Any]] = {}
        self._in_place: set[Key] = set()

    def bring(self, key: Key, parts: Iterable[Part], shape: tuple[int, int]) -> Parts:
        """Queue the copies of a panel's parts, unless these may stay where they are.

        What is not page-locked goes through a page-locked buffer first.
        """
        self._wait_for(key)
        self._sources[key] = []
        with self._copying:
            self._copying.wait_event(self._slots.multiplied[key[1]])
            try:
                parts = iter(parts)
                first = next(parts)
                if _is_here(first.array):
                    there = [first, *parts]
                    if self._lie_well(there):
                        return self._left(key, there)
                    first, *parts = there
                return (Part(self._copied(key, first, parts, shape), 0, 0),)
            finally:  # after a failure too: others fill the slot then
                self._slots.uploaded[key].record(self._copying)

    def clear(self) -> None:
        """Let go of what panels were copied from, or are, when all is multiplied."""
        self._sources.clear()

    def _wait_for(self, key: Key) -> None:
        """Wait until nobody reads what the last panel came from, two panels ago.

        The product that used the buffer is waited for by the stream alone.
        """
        self._slots.uploaded[key].synchronize()
        if key in self._in_place:
            self._slots.multiplied[key[1]].synchronize()
            self._in_place.remove(key)

    def _lie_well(self, parts: Parts) -> bool:
        """Whether they may stay where they are."""
        least_side = LEAST_SIDES.get(self._dtype.name)
        if least_side is None or not all(_is_here(part.array) for part in parts):
            return False
        return lie_well(parts, self._dtype, least_side)

    def _left(self, key: Key, parts: Parts) -> Parts:
        """The parts as they are, kept until they are multiplied."""
        wait_for_null_stream(self._copying)
        self._in_place.add(key)
        self._sources[key].extend(part.array for part in parts)
        return parts

    def _copied(self, key: Key, first: Part, others: Iterable[Part], shape: tuple[int, int]) -> cupy.ndarray:
        """The slot's buffer with all parts in it, in the order of memory of the first."""
        flipped = abs(first.array.strides[0]) < abs(first.array.strides[1])
        panel = self._panel(key, shape[::-1] if flipped else shape)
        for part in chain((first,), others):
            array, side, width = part.array, part.side, part.width
            if flipped:
                array, side, width = array.T, width, side
            rows, columns = array.shape
            target = panel[side : side + rows, width : width + columns]
            self._sources[key].append(self._copy(array, target, key, panel.shape, (side, width)))
        return panel.T if flipped else panel

    def _copy(self, array: Any, target: cupy.ndarray, key: Key, shape: tuple[int, int], at: tuple[int, int]) -> Any:
        """Queue the copy of one part, and return what must be kept until it is done."""
        if isinstance(array, cupy.ndarray):
            wait_for_null_stream(self._copying)
            # A copy of the driver's would delay the product beside it twice as long as this kernel does.
            target[...] = array
            return array
        row_nbytes = array.shape[1] * array.itemsize
        as_declared = array.dtype == self._dtype
        if not as_declared or array.strides[1] != array.itemsize or array.strides[0] < row_nbytes or not pin(array):
            staged = slice(at[0], at[0] + array.shape[0]), slice(at[1], at[1] + array.shape[1])
            staging = np.ndarray(shape, self._dtype, self._slots.staging(key, self._panel_nbytes(key)))[staged]
            np.copyto(staging, array, casting="same_kind")
            array = staging
        runtime.memcpy2DAsync(
            *(target.data.ptr, target.strides[0], array.ctypes.data, array.strides[0]),
            *(array.shape[1] * array.itemsize, array.shape[0], runtime.memcpyHostToDevice, self._copying.ptr),
        )
        return array

    def _panel(self, key: Key, shape: tuple[int, int]) -> cupy.ndarray:
        return cupy.ndarray(shape, self._dtype, self._slots.panel(key, self._panel_nbytes(key), self._take))

    def _panel_nbytes(self, key: Key) -> int:
        return self._shape.panel_size(key[0]) * self._dtype.itemsize


def wait_for_null_stream(*streams: cupy.cuda.Stream) -> None:
    """Let them wait for what is queued there: makers of chunks, and users of memory that CuPy has handed out again."""
    event = queued()
    for stream in streams:
        stream.wait_event(event)


def _is_here(array: Any) -> bool:
    """Whether cuBLAS can read it."""
    return isinstance(array, cupy.ndarray) and array.data.device_id == runtime.getDevice()
