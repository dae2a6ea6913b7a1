"""How panels come to a GPU: copied side by side into a slot's buffer, or not at all where they may stay as they are."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime

from overspill.kernels import gemm_cuda
from overspill.memory.pinning import pin
from overspill.stream.device import TileShape
from overspill.stream.panel import Panel, lies_well
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
        self._in_place: set[Key] = set()

    def bring(self, key: Key, parts: Iterable[Part], shape: tuple[int, int], *, copy: bool) -> Panel:
        """Queue the copies of a panel's parts unless, without `copy`, they may stay where they are.

        What is not page-locked goes through a page-locked buffer first.
        """
        self._wait_for(key)
        sources = self._sources[key] = []
        parts = iter(parts)
        with self._copying:
            self._copying.wait_event(self._slots.multiplied[key[1]])
            try:
                first = next(parts)
                if isinstance(first.array, cupy.ndarray):
                    panel = (first, *parts)
                    if not copy and self._lies_well(panel):
                        self._wait_for_makers()
                        self._in_place.add(key)
                        sources.extend(part.array for part in panel)
                        return panel
                    parts = iter(panel[1:])
                return (Part(self._copied(key, chain((first,), parts), shape, sources), 0, 0),)
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

    def _copied(self, key: Key, parts: Iterable[Part], shape: tuple[int, int], sources: list[Any]) -> cupy.ndarray:
        """The slot's buffer with all parts in it, in the order of memory of the first; `sources` must be kept."""
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
            sources.append(self._copy(array, target, key, panel.shape, (side, width)))
        assert panel is not None
        return panel.T if flipped else panel

    def _copy(self, array: Any, target: cupy.ndarray, key: Key, shape: tuple[int, int], at: tuple[int, int]) -> Any:
        """Queue the copy of one part, and return what must be kept until it is done."""
        if isinstance(array, cupy.ndarray):
            self._wait_for_makers()
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

    def _lies_well(self, panel: Panel) -> bool:
        """Whether its parts may stay where they are: with half the sides of what products are cut into anyway."""
        side = gemm_cuda.BLOCK_SIDE.get(self._dtype.name)
        return side is not None and lies_well(panel, self._dtype, side // 2)

    def _wait_for_makers(self) -> None:
        """Let the stream wait for what is queued on the null stream: whatever made chunks may still be running."""
        self._copying.wait_event(cupy.cuda.Stream.null.record())

    def _panel(self, key: Key, shape: tuple[int, int]) -> cupy.ndarray:
        return cupy.ndarray(shape, self._dtype, self._slots.panel(key, self._panel_nbytes(key), self._take))

    def _panel_nbytes(self, key: Key) -> int:
        return self._shape.panel_size(key[0]) * self._dtype.itemsize
