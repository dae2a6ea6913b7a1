"""Where a product's tile comes down to: host memory, whose pages may not be locked yet.

CUDA begins nothing else while it locks pages, and other processes' locking waits too. Four H200s took 5.8 s for a first
product if each tile was locked before it came down, 3.4 s if all were from the start, and warm ones 2.7 s. So what
comes to a new tile goes through small buffers that are locked, and the tile is locked when the GPU rests.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime
from numpy.typing import DTypeLike, NDArray

from overspill import memory
from overspill.memory import registry
from overspill.memory.pinning import is_locked, pin, populate
from overspill.memory.segment import Segment
from overspill.planning.footprint import landing_nbytes
from overspill.planning.grid import even, intervals

BUFFERS = 2
"""One is filled while the other is emptied."""

THREADS = 4
"""That empty a buffer: about as many as are as fast as the link."""

Finished = Sequence[tuple[slice, cupy.cuda.Event]]
"""Rows, and the event after which they are finished on the GPU."""

Rows = Callable[[slice], cupy.ndarray]
"""What rows on the GPU hold, in C order."""


class Unlocked:
    """Tiles that are there, but not locked yet; those that nobody uses any more are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._segments: set[Segment] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="overspill-locking")

    def add(self, tile: NDArray[Any]) -> None:
        """Have the pages of `tile` locked at the next occasion, for whoever reads it, or gets its memory then."""
        if found := registry.find(tile):
            with self._lock:
                self._segments.add(found[0])

    def lock(self) -> None:
        """Begin to lock them, in a thread of its own."""
        with self._lock:
            segments, self._segments = self._segments, set()
        for segment in segments:
            self._thread.submit(_lock, segment)

    def wait(self) -> None:
        """Return when what has begun is done."""
        self._thread.submit(int).result()


class Landing:
    """A new tile, its pages made, which takes as long as a product where memory is new."""

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike, unlocked: Unlocked) -> None:
        self._unlocked = unlocked
        self.tile = memory.empty(shape, dtype, lock=False)
        populate(self.tile)

    def bring(self, finished: Finished, rows: Rows, stream: cupy.cuda.Stream) -> None:
        """Copy what is `finished` on `stream`, and return once it is there."""
        if memory.is_tile(self.tile) and not is_locked(self.tile):
            self._bring_through_buffers(finished, rows, stream)
            self._unlocked.add(self.tile)
            return
        kept = []
        for piece in _pieces(finished, len(self.tile), stream):
            kept.append(source := self._cast(rows(piece)))  # what is copied must stay until it has been
            _copy(source, self.tile[piece], stream)
        stream.synchronize()

    def _bring_through_buffers(self, finished: Finished, rows: Rows, stream: cupy.cuda.Stream) -> None:
        height = max(1, landing_nbytes(self.tile.nbytes) // BUFFERS // self.tile.strides[0])
        buffers = [memory.empty((height, self.tile.shape[1]), self.tile.dtype) for _ in range(BUFFERS)]
        for buffer in buffers:
            pin(buffer)  # in a process that no cluster has prepared for a GPU
        coming: deque[tuple[Any, ...]] = deque()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="overspill-landing") as threads:
            for number, piece in enumerate(_pieces(finished, height, stream)):
                if len(coming) == BUFFERS:
                    _land(threads, *coming.popleft())
                source = self._cast(rows(piece))
                buffered = buffers[number % BUFFERS][: len(source)]
                _copy(source, buffered, stream)
                coming.append((stream.record(), source, buffered, self.tile[piece]))
            while coming:
                _land(threads, *coming.popleft())

    def _cast(self, rows: cupy.ndarray) -> cupy.ndarray:
        return rows.astype(self.tile.dtype, copy=False)


def _lock(segment: Segment) -> None:
    for lease in list(segment.leases)[:1]:  # which keeps the memory mapped
        pin(np.asarray(lease))


def _pieces(finished: Finished, height: int, stream: cupy.cuda.Stream) -> Iterator[slice]:
    """At most `height` rows at a time, each once `stream` waits for what finishes them."""
    for band, event in finished:
        stream.wait_event(event)
        for start, stop in intervals(even(band.stop - band.start, height)):
            yield slice(band.start + start, band.start + stop)


def _copy(source: cupy.ndarray, target: NDArray[Any], stream: cupy.cuda.Stream) -> None:
    runtime.memcpyAsync(target.ctypes.data, source.data.ptr, source.nbytes, runtime.memcpyDeviceToHost, stream.ptr)


def _land(
    threads: ThreadPoolExecutor,
    copied: cupy.cuda.Event,
    source: cupy.ndarray,
    buffered: NDArray[Any],
    target: NDArray[Any],
) -> None:
    """Empty a buffer once it is filled from `source`, which is kept until then."""
    copied.synchronize()
    parts = (np.array_split(rows, THREADS) for rows in (target, buffered))
    list(threads.map(np.copyto, *parts))
