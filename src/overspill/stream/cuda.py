"""A GPU as a device: panels are copied from page-locked tiles on one stream and multiplied on another."""

import threading
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import cupy
import numpy as np

from overspill.kernels import gemm_cuda, integer
from overspill.memory import ledger
from overspill.memory.store import process
from overspill.planning.arithmetic import Arithmetic
from overspill.planning.footprint import piece_nbytes
from overspill.planning.grid import bands, intervals
from overspill.stream.buffers import Buffers
from overspill.stream.device import TileShape
from overspill.stream.landing_cuda import Landing, Unlocked
from overspill.stream.slots_cuda import Slots
from overspill.stream.strip import Part
from overspill.stream.turn import Turn
from overspill.stream.upload_cuda import Uploads, wait_for_null_stream


class CUDA:
    """The current GPU of this process, its buffers and its streams.

    Tasks multiply one after the other, on one stream: side by side, each would get half of the GPU, and both would end
    at the same time, and nobody would multiply while both download their results and upload their next ones' first
    panels. Panels go up in the same order, through the same buffers: when one task has sent its last ones, the next
    one's first go up, and are there when it gets its turn.
    """

    def __init__(self) -> None:
        self.buffers = Buffers(self._allocate, self._drop)
        self.slots = Slots(self.buffers)
        self.computing = cupy.cuda.Stream(non_blocking=True)
        self.link = Turn()
        self.turn = Turn()
        self.unlocked = Unlocked(lambda: bool(self.computing.done and not self.link.taken))
        self._lock = threading.Lock()
        self._copying: list[cupy.cuda.Stream] = []

    def open(
        self, shape: TileShape, dtype: str, arithmetic: Arithmetic, *, keep_on_device: bool, in_turn: bool
    ) -> "CUDATileStream":
        """Begin an output tile."""
        slots = self.slots if in_turn else Slots(self.buffers)
        return CUDATileStream(self, slots, shape, dtype, arithmetic, keep_on_device=keep_on_device)

    def give_way(self, nbytes: int) -> None:
        """Wait a little, while nothing is multiplied, for one with narrower panels than this one's, of `nbytes`."""
        self.link.let_others(nbytes, lambda: self.slots.multiplied_all)

    def take_stream(self) -> cupy.cuda.Stream:
        """A stream that nothing else uses, whose kernels need not wait until a product lets them in between."""
        with self._lock:
            return self._copying.pop() if self._copying else cupy.cuda.Stream(non_blocking=True, priority=-1)

    def give_stream(self, stream: cupy.cuda.Stream) -> None:
        """Hand an idle stream back."""
        with self._lock:
            self._copying.append(stream)

    def take(self, streams: tuple[cupy.cuda.Stream, ...], nbytes: int) -> cupy.cuda.MemoryPointer:
        """A buffer for these streams."""
        buffer = self.buffers.take(nbytes)
        wait_for_null_stream(*streams)
        return buffer

    def _allocate(self, nbytes: int) -> cupy.cuda.MemoryPointer:
        # What earlier sizes left in the pool would count against the device budget beside the new buffer.
        process.trim(nbytes)
        cupy.get_default_memory_pool().free_all_blocks()
        with cupy.cuda.Stream.null:
            buffer = cupy.cuda.alloc(nbytes)
        ledger.record_device(nbytes)
        return buffer

    def _drop(self, nbytes: int) -> None:
        ledger.record_device(-nbytes)


class CUDATileStream:
    """One output tile on a GPU: a stream that copies, the GPU's one that computes, and events between them."""

    def __init__(
        self, device: CUDA, slots: Slots, shape: TileShape, dtype: str, arithmetic: Arithmetic, *, keep_on_device: bool
    ) -> None:
        self._device = device
        self._slots = slots
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._exact = arithmetic.rate == "integer"
        self._sum_dtype = np.dtype("int64" if self._exact else "float32" if dtype == "float16" else dtype)
        self._taken: list[tuple[int, Any]] = []
        self._copying, self._computing = device.take_stream(), device.computing
        # No method of this object: what refers to itself in a circle keeps its memory until Python looks for circles.
        self._take = partial(device.take, (self._copying, self._computing))
        self._uploads = Uploads(slots, self._copying, shape, self._dtype, self._take)
        self._multiplied = cupy.cuda.Event(disable_timing=True)
        self._begun = False
        self._finished: list[tuple[slice, cupy.cuda.Event]] = []
        self._landing: Landing | None = None
        self._order = "C" if self._exact else gemm_cuda.fastest_order(dtype)
        try:
            self._kept = self._new_kept() if keep_on_device else None
            self._sum = self._new_sum()
            self._leaving = None if keep_on_device or self._sum_is_tile else self._new_leaving()
        except BaseException:
            self._hand_back()
            raise
        slots.join()

    def next_slot(self) -> int:
        """The pair of buffers for the next panels."""
        return self._slots.following()

    def make_room(self) -> None:
        """Make the host tile and its pages, which takes as long as the product where memory is new."""
        if self._kept is None:
            with self._copying:
                self._landing = Landing(self._shape.actual, self._dtype, self._device.unlocked, self._rows)

    def upload(self, operand: Literal[0, 1], slot: int, parts: Iterable[Part], shape: tuple[int, int]) -> cupy.ndarray:
        """Queue what brings a panel there."""
        return self._uploads.bring((operand, slot), parts, shape)

    def multiply(self, slot: int, a: cupy.ndarray, b: cupy.ndarray, *, last: bool = False) -> None:
        """Queue the addition of ``a @ b.T``, band by band if it is the last and the tile goes down."""
        whole = not last or self._kept is not None or self._exact
        heights = (len(self._sum),) if whole else bands(*self._sum.shape)
        with self._computing:
            try:
                for operand in (0, 1):
                    self._computing.wait_event(self._slots.uploaded[operand, slot])
                for start, stop in intervals(heights):
                    band = slice(start, stop)
                    self._add(a[band], b.T, self._sum[band])
                    if last:
                        self._finished.append((band, self._computing.record()))
                self._begun = True
            finally:
                # After a failure too: what was queued before it uses buffers that `close` hands on.
                for event in (self._slots.multiplied[slot], self._multiplied):
                    event.record(self._computing)

    def download(self) -> Any:
        """The tile, cut to its element type, where it is wanted."""
        finished, self._finished = self._finished, []
        with self._copying:
            if self._kept is None:
                assert self._landing, "no room was made for the tile"
                self._landing.bring(finished, self._rows, self._copying)
                return self._landing.tile
            for band, multiplied in finished:
                self._copying.wait_event(multiplied)
                if self._kept is not self._sum:
                    self._convert(band, self._kept[band])
            self._copying.synchronize()
        return self._kept

    def close(self) -> None:
        """Wait for what is queued, and hand buffers and streams back."""
        self._copying.synchronize()
        self._multiplied.synchronize()
        self._slots.leave()
        self._hand_back()
        self._uploads.clear()
        self._device.unlocked.lock()

    def _hand_back(self) -> None:
        """Let others have the stream and the buffers."""
        self._device.give_stream(self._copying)
        while self._taken:
            self._device.buffers.give(*self._taken.pop())

    def _add(self, a: cupy.ndarray, b: cupy.ndarray, total: cupy.ndarray) -> None:
        """Queue ``a @ b`` for some rows of the sum."""
        if not self._exact:
            gemm_cuda.gemm(a, b, total, accumulate=self._begun)
            return
        if not self._begun:
            total.fill(0)
        integer.add_product(a, b, total)

    @property
    def _sum_is_tile(self) -> bool:
        """Whether the sum has the tile's type and order."""
        return self._sum_dtype == self._dtype and self._order == "C"

    def _rows(self, rows: slice) -> cupy.ndarray:
        """Rows of the tile, until the next ones are asked for: no more than `piece_nbytes`."""
        if self._leaving is None:
            return self._sum[rows]
        leaving = cupy.ndarray((rows.stop - rows.start, self._shape.actual[1]), self._dtype, self._leaving)
        self._convert(rows, leaving)
        return leaving

    def _convert(self, rows: slice, target: cupy.ndarray) -> None:
        """Queue what brings rows of the sum to the tile's type and order."""
        target[...] = self._sum[rows] != 0 if self._dtype.kind == "b" else self._sum[rows]

    def _new_kept(self) -> cupy.ndarray:
        """The result that stays on the device, from the memory of the stream that its users work on."""
        with cupy.cuda.Stream.null:
            kept = cupy.empty(self._shape.actual, self._dtype)
        wait_for_null_stream(self._copying, self._computing)
        return kept

    def _new_sum(self) -> cupy.ndarray:
        if self._kept is not None and self._sum_is_tile:
            return self._kept
        shape, buffer = self._shape.actual, self._buffer(self._shape.size * self._sum_dtype.itemsize)
        if self._order == "C":
            return cupy.ndarray(shape, self._sum_dtype, buffer)
        return cupy.ndarray(shape[::-1], self._sum_dtype, buffer).T

    def _new_leaving(self) -> cupy.cuda.MemoryPointer:
        """Where rows of the sum become rows of the tile, on their way to the host."""
        rows, columns = self._shape.largest
        return self._buffer(piece_nbytes(rows, columns * self._dtype.itemsize))

    def _buffer(self, nbytes: int) -> cupy.cuda.MemoryPointer:
        """A buffer that is handed back in the end."""
        buffer = self._take(nbytes)
        self._taken.append((nbytes, buffer))
        return buffer
