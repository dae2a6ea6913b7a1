"""How panels come to a GPU: their parts are copied side by side into a slot's buffer."""

from collections.abc import Callable, Iterable
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime

from overspill.memory.pinning import pin
from overspill.memory.store.memory_cuda import queued
from overspill.stream.device import TileShape
from overspill.stream.slots_cuda import Key, Slots
from overspill.stream.strip import Part


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

    def bring(self, key: Key, parts: Iterable[Part], shape: tuple[int, int]) -> cupy.ndarray:
        """Queue the copies of a panel's parts, and return the panel.

        What is not page-locked goes through a page-locked buffer first.
        """
        # What the buffer was last filled from may be read until then; the product of it only the stream waits for.
        self._slots.uploaded[key].synchronize()
        self._sources[key] = []
        with self._copying:
            self._copying.wait_event(self._slots.multiplied[key[1]])
            try:
                return self._copied(key, parts, shape)
            finally:  # after a failure too: others fill the slot then
                self._slots.uploaded[key].record(self._copying)

    def clear(self) -> None:
        """Let go of what panels were copied from, when all is there."""
        self._sources.clear()

    def _copied(self, key: Key, parts: Iterable[Part], shape: tuple[int, int]) -> cupy.ndarray:
        """The slot's buffer with all parts in it, in the order of memory of the first."""
        panel = None
        for part in parts:
            array, side, width = part.array, part.side, part.width
            if panel is None:
                flipped = abs(array.strides[0]) < abs(array.strides[1])
                panel = self._panel(key, shape[::-1] if flipped else shape)
            if flipped:
                array, side, width = array.T, width, side
            rows, columns = array.shape
            target = panel[side : side + rows, width : width + columns]
            self._sources[key].append(self._copy(array, target, key, panel.shape, (side, width)))
        assert panel is not None
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
