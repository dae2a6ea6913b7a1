"""The GPU of this process as the store's device: copies on streams of their own, down and up.

Kernels are taken to run on CuPy's null stream, as Dask's tasks do. A copy down waits for the event after which its
value was computed; whatever is queued on the null stream after a copy up waits for that copy. On the host only those
wait who take a value down, or bring one up far ahead of the ones before it.
"""

import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import cupy
import cupyx
import numpy as np
from cupy.cuda import runtime
from numpy.typing import NDArray

from overspill.memory.pinning import pin
from overspill.memory.store.device import Copy, Reclaim, Span
from overspill.memory.store.memory_cuda import CUDAMemory, queued
from overspill.memory.store.meter import Meter
from overspill.memory.tile import SMALLEST_NBYTES

_ALIGNMENT = 512

MOST_QUEUED_NBYTES = 2 * 2**30
"""Of copies up: what a link of 50 GB/s moves in 40 ms."""

LEAST_QUEUED = 2
"""Copies up that may be queued whatever their size, lest the link stand idle between them."""


class _Block:
    """What arrays over an uploaded block keep alive."""

    __slots__ = ("__weakref__",)


class CUDADevice:
    """The current GPU of this process."""

    def __init__(self) -> None:
        self._id = runtime.getDevice()
        self._memory = CUDAMemory()
        self._up = cupy.cuda.Stream(non_blocking=True)
        self._down = cupy.cuda.Stream(non_blocking=True)
        self._lock = threading.Lock()
        self._down_lock = threading.Lock()
        self._in_flight: deque[tuple[Any, Any, NDArray[np.uint8]]] = deque()
        self._meter = Meter()

    @property
    def limit_nbytes(self) -> int:
        """Bytes that CuPy may take before values are evicted.

        It is passed where nothing is left to evict and no other task to wait for, and for what is small.
        """
        return self._memory.pool.limit_nbytes

    @limit_nbytes.setter
    def limit_nbytes(self, nbytes: int) -> None:
        self._memory.pool.limit_nbytes = nbytes

    def install(self, reclaim: Reclaim, meter: Meter) -> None:
        """Have CuPy allocate within the limit, and ask `reclaim` for bytes where that fails."""
        self._meter = meter
        self._memory.install(reclaim)

    def uninstall(self) -> None:
        """Leave CuPy's memory to CuPy."""
        self._up.synchronize()
        self._land()
        self._memory.uninstall()

    def is_array(self, x: Any) -> bool:
        """Whether `x` is a CuPy array on this GPU: what is queued on another one, no copy here would wait for."""
        return isinstance(x, cupy.ndarray) and x.data.device_id == self._id

    def parts(self, x: Any) -> Iterable[Any]:
        """The arrays of a cupyx sparse matrix."""
        # Where nobody has imported them there are none; the import takes longer than an event loop should be held up.
        matrix = getattr(sys.modules.get("cupyx.scipy.sparse"), "spmatrix", None)
        if matrix is None or not isinstance(x, matrix):
            return ()
        names = ("data", "indices", "indptr", "row", "col", "offsets")
        return (part for name in names if isinstance(part := getattr(x, name, None), cupy.ndarray))

    def span(self, x: cupy.ndarray) -> Span:
        """Where `x` lies."""
        memory = x.data.mem
        first = x.data.ptr - memory.ptr
        steps = [(n - 1) * stride for n, stride in zip(x.shape, x.strides, strict=True)]
        start = first + sum(step for step in steps if step < 0)
        stop = first + sum(step for step in steps if step > 0) + x.itemsize
        return Span(memory.ptr, max(memory.size, stop), start, stop, first)

    def mark(self) -> cupy.cuda.Event:
        """What is queued on the null stream now."""
        return queued()

    def download(self, copies: Sequence[Copy], after: cupy.cuda.Event | None) -> None:
        """Copy down on a stream of its own; this thread waits, without the interpreter's lock."""
        if all(_is_small(copy.frame) for copy in copies):
            self._download_small(copies)
            return
        targets = [copy.frame if pin(copy.frame) or not _is_small(copy.frame) else _detour(copy) for copy in copies]
        begin, end = cupy.cuda.Event(block=True), cupy.cuda.Event(block=True)
        with self._down_lock:
            self._down.wait_event(after if after is not None else self.mark())
            begin.record(self._down)
            for copy, target in zip(copies, targets, strict=True):
                _queue_copy_down(copy, target, self._down)
            end.record(self._down)
        end.synchronize()
        self._meter.took("device_to_host", cupy.cuda.get_elapsed_time(begin, end) / 1e3)
        self._arrived(copies, targets)

    def _download_small(self, copies: Sequence[Copy]) -> None:
        """Copy down in the null stream's own order: of what is small, the calls cost more than the copies."""
        targets = [_detour(copy) for copy in copies]
        end = cupy.cuda.Event(block=True, disable_timing=True)
        for copy, target in zip(copies, targets, strict=True):
            _queue_copy_down(copy, target, cupy.cuda.Stream.null)
        end.record(cupy.cuda.Stream.null)
        end.synchronize()
        self._arrived(copies, targets)

    def _arrived(self, copies: Sequence[Copy], targets: Sequence[NDArray[np.uint8]]) -> None:
        for copy, target in zip(copies, targets, strict=True):
            if target is not copy.frame:
                np.copyto(copy.frame, target)
        self._meter.moved("device_to_host", sum(target.nbytes for target in targets))

    def upload(self, frame: NDArray[np.uint8]) -> cupy.cuda.MemoryPointer:
        """Queue a copy up, for which everything queued later waits; waits for none but those far ahead of it.

        Tasks that run further ahead of the copies gain nothing, and whoever asks for one of their small results would
        wait for all that is queued by then.
        """
        if _is_small(frame):
            self._meter.moved("host_to_device", frame.nbytes)
            # What is small is worth no eviction. CuPy keeps page-locked memory for just this.
            with self._memory.pool.unlimited(), cupy.cuda.Stream.null:
                return cupy.array(frame).data
        self._await_turn(frame.nbytes)
        size = -(-frame.nbytes // _ALIGNMENT) * _ALIGNMENT
        pointer, free = self._memory.take(size)
        pin(frame)
        begin, end = cupy.cuda.Event(block=True), cupy.cuda.Event(block=True)
        with self._lock:
            self._up.wait_event(free)
            begin.record(self._up)
            runtime.memcpyAsync(pointer.ptr, frame.ctypes.data, frame.nbytes, runtime.memcpyHostToDevice, self._up.ptr)
            end.record(self._up)
            cupy.cuda.Stream.null.wait_event(end)
            # The pool must not hand out the frame's tile again before it has been read.
            self._in_flight.append((begin, end, frame))
        self._meter.moved("host_to_device", frame.nbytes)
        if not self._memory.watched:
            end.synchronize()  # without a store nobody looks later, and a worker's tile would stay in use here
        self._land()
        block = _Block()
        finalizer = weakref.finalize(block, self._memory.release, size, pointer)
        finalizer.atexit = False
        memory = cupy.cuda.UnownedMemory(pointer.ptr, size, block, pointer.device_id)
        return cupy.cuda.MemoryPointer(memory, 0)

    def _await_turn(self, nbytes: int) -> None:
        while True:
            with self._lock:
                queued = [(end, frame.nbytes) for _, end, frame in self._in_flight]
            if len(queued) < LEAST_QUEUED or sum(each for _, each in queued) + nbytes <= MOST_QUEUED_NBYTES:
                return
            queued[0][0].synchronize()
            self._land(patient=True)

    def view(
        self, block: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any
    ) -> cupy.ndarray:
        """An array over an uploaded block."""
        return cupy.ndarray(shape, dtype, block + offset, strides)

    def trim(self, nbytes: int) -> None:
        """Give back to the device what CuPy keeps free, if `nbytes` more would pass the limit."""
        self._land()
        if self._memory.pool.total_nbytes() + nbytes > self.limit_nbytes:
            self._memory.trim()

    def allocated_nbytes(self) -> int:
        """Bytes that CuPy has taken, those it keeps included; past the limit an idle GPU keeps none."""
        self._land()
        # To give memory back is to wait for all that is queued, which an event loop must not.
        pool = self._memory.pool
        if pool.total_nbytes() > self.limit_nbytes and pool.free_nbytes() and cupy.cuda.Stream.null.done:
            self._memory.trim()
        return pool.total_nbytes()

    def _land(self, *, patient: bool = False) -> None:
        """Let go of the frames that have been copied, and count what the copies took."""
        # From pageable memory a copy may be queued only when what is queued before it has been done: whoever holds the
        # lock that long looks here next, and an event loop need not wait for it.
        if not self._lock.acquire(blocking=patient):
            return
        try:
            while self._in_flight and self._in_flight[0][1].done:
                begin, end, _ = self._in_flight.popleft()
                self._meter.took("host_to_device", cupy.cuda.get_elapsed_time(begin, end) / 1e3)
        finally:
            self._lock.release()


def _is_small(frame: NDArray[np.uint8]) -> bool:
    """Whether it is too small for a tile, so that its pages are not locked: a copy from there holds everybody up."""
    return frame.nbytes < SMALLEST_NBYTES


def _detour(copy: Copy) -> NDArray[np.uint8]:
    """Page-locked memory for a small copy down."""
    try:
        detour: NDArray[np.uint8] = cupyx.empty_pinned(copy.frame.shape, np.uint8)
    except runtime.CUDARuntimeError:  # no more can be locked
        return copy.frame
    return detour


def _queue_copy_down(copy: Copy, target: NDArray[np.uint8], stream: cupy.cuda.Stream) -> None:
    source = copy.x.data.mem.ptr + copy.start
    runtime.memcpyAsync(target.ctypes.data, source, target.nbytes, runtime.memcpyDeviceToHost, stream.ptr)
