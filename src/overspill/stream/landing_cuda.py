"""Where a product's tile comes down to: host memory, whose pages may not be locked yet.

CUDA begins nothing else while it locks pages, and other processes' locking waits too. Four H200s took 5.8 s for a first
product if each tile was locked before it came down, 3.4 s if all were from the start, and warm ones 2.7 s (runs without
a file). So what comes to a new tile goes through small buffers that are locked, and the tile is locked when the GPU
rests, or else when its memory is used again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime
from numpy.typing import DTypeLike, NDArray

from overspill import memory
from overspill.memory import registry
from overspill.memory.pinning import is_locked, is_recycled, pin, populate
from overspill.memory.segment import Segment
from overspill.planning.footprint import LANDING_BUFFERS, landing_rows
from overspill.planning.grid import even, intervals

THREADS = 4
"""That empty a buffer: about as many as are as fast as the link."""

REST_S = 0.05
"""Seconds after which a GPU that is done is taken to rest: the next task of a product begins sooner."""

Finished = Sequence[tuple[slice, cupy.cuda.Event]]
"""Rows, and the event after which they are finished on the GPU."""

Rows = Callable[[slice], cupy.ndarray]
"""Rows of the tile on the GPU, in C order; what comes after them on the stream may put others in their place."""


class Unlocked:
    """Tiles that are there, but not locked yet; those that nobody uses any more are forgotten.

    Parameters
    ----------
    rests
        Whether the GPU has nothing to do.
    """

    def __init__(self, rests: Callable[[], bool]) -> None:
        self._rests = rests
        self._lock = threading.Lock()
        self._segments: set[Segment] = set()
        self.thread: threading.Thread | None = None

    def add(self, tile: NDArray[Any]) -> None:
        """Have the pages of `tile` locked at the next occasion, for whoever reads it, or gets its memory then."""
        if found := registry.find(tile):
            with self._lock:
                self._segments.add(found[0])

    def lock(self) -> None:
        """Lock them in a thread of their own, which ends when the GPU has something to do, or the program ends."""
        with self._lock:
            if self._segments and self.thread is None:
                self.thread = threading.Thread(target=self._work, name="overspill-locking", daemon=True)
                self.thread.start()

    def _work(self) -> None:
        try:
            time.sleep(REST_S)
            while segment := self._next():
                if lease := segment.lease:  # which keeps the memory mapped
                    pin(np.asarray(lease))
        except BaseException:  # a warning of which a program makes an error
            with self._lock:
                self.thread = None
            raise

    def _next(self) -> Segment | None:
        with self._lock:
            if self._segments and self._rests():
                return self._segments.pop()
            self.thread = None
            return None


class Landing:
    """A new tile, its pages made, which takes as long as a product where memory is new.

    CUDA loads a kernel when it is first used, and hardly gets to it while pages are made or locked, for which the
    process's memory map is locked: cuBLAS's first one took 0.7 s (a run without a file). So the kernel that brings rows
    in order is used once before, unless they are there and locked.

    Parameters
    ----------
    shape, dtype
        The tile's.
    unlocked
        Where it is noted until its pages are locked.
    rows
        What queues rows on the current stream. It is not kept: whoever keeps the landing would refer to itself.
    """

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike, unlocked: Unlocked, rows: Rows) -> None:
        self._unlocked = unlocked
        self.tile = memory.empty(shape, dtype, lock=False)
        self._height = landing_rows(shape[0], self.tile.strides[0])
        if not is_locked(self.tile):
            rows(slice(0, self._height))
        if is_recycled(self.tile):
            pin(self.tile)
        else:
            populate(self.tile)

    def bring(self, finished: Finished, rows: Rows, stream: cupy.cuda.Stream) -> None:
        """Copy what is `finished` on `stream`, and return once it is there."""
        pieces = _pieces(finished, self._height, stream)
        if is_locked(self.tile):
            self._bring_straight(pieces, rows, stream)
            return
        buffers = [memory.empty((self._height, self.tile.shape[1]), self.tile.dtype) for _ in range(LANDING_BUFFERS)]
        if all(pin(buffer) for buffer in buffers):  # a cluster's are locked already
            self._bring_through(buffers, pieces, rows, stream)
        else:  # they would only be in the way
            self._bring_straight(pieces, rows, stream)
        self._unlocked.add(self.tile)

    def _bring_straight(self, pieces: Iterable[slice], rows: Rows, stream: cupy.cuda.Stream) -> None:
        for piece in pieces:
            _copy(rows(piece), self.tile[piece], stream)
        stream.synchronize()

    def _bring_through(
        self, buffers: Sequence[NDArray[Any]], pieces: Iterable[slice], rows: Rows, stream: cupy.cuda.Stream
    ) -> None:
        coming: deque[tuple[Any, ...]] = deque()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="overspill-landing") as threads:
            for number, piece in enumerate(pieces):
                if len(coming) == len(buffers):
                    _land(threads, *coming.popleft())
                buffered = buffers[number % len(buffers)][: piece.stop - piece.start]
                _copy(rows(piece), buffered, stream)
                coming.append((stream.record(), buffered, self.tile[piece]))
            while coming:
                _land(threads, *coming.popleft())


def _pieces(finished: Finished, height: int, stream: cupy.cuda.Stream) -> Iterator[slice]:
    """At most `height` rows at a time, each once `stream` waits for what finishes them."""
    for band, event in finished:
        stream.wait_event(event)
        for start, stop in intervals(even(band.stop - band.start, height)):
            yield slice(band.start + start, band.start + stop)


def _copy(source: cupy.ndarray, target: NDArray[Any], stream: cupy.cuda.Stream) -> None:
    runtime.memcpyAsync(target.ctypes.data, source.data.ptr, source.nbytes, runtime.memcpyDeviceToHost, stream.ptr)


def _land(threads: ThreadPoolExecutor, copied: cupy.cuda.Event, buffered: NDArray[Any], target: NDArray[Any]) -> None:
    """Empty a buffer once it is filled."""
    copied.synchronize()
    parts = (np.array_split(rows, THREADS) for rows in (target, buffered))
    list(threads.map(np.copyto, *parts))
