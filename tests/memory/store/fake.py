"""A device made of ordinary memory, whose work is queued like a GPU's and done only when somebody waits for it.

Until its copy up has been done an array holds rubbish, so a store that does not wait for the right event, or lets a
frame be recycled too early, returns wrong bytes. Memory is limited, freed when the last array over it goes, and asked
of the store as the allocator of `CUDADevice` does it. Every copy can be made to fail.
"""

import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.memory.store.device import Copy, Reclaim, Span
from overspill.memory.store.meter import Meter

RUBBISH = 0xAB


class Faults:
    """Errors that named steps raise until they are mended."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}
        self.met = 0

    def check(self, step: str) -> None:
        if step in self.errors:
            self.met += 1
            raise self.errors[step]


class Allocation:
    """Bytes of the device, freed with the last array over them."""

    def __init__(self, number: int, nbytes: int) -> None:
        self.number = number
        self.buffer = np.full(nbytes, RUBBISH, np.uint8)


class FakeArray:
    """An array of the device. Its content is asked for with `get`, which waits."""

    def __init__(self, device: "FakeDevice", allocation: Allocation, array: NDArray[Any]) -> None:
        self.device = device
        self.allocation = allocation
        self._array = array
        self.shape, self.strides, self.dtype = array.shape, array.strides, array.dtype
        self.size, self.nbytes, self.itemsize = array.size, array.nbytes, array.itemsize

    def __getitem__(self, index: Any) -> "FakeArray":
        return FakeArray(self.device, self.allocation, self._array[index])

    @property
    def T(self) -> "FakeArray":
        return FakeArray(self.device, self.allocation, self._array.T)

    def get(self) -> NDArray[Any]:
        """A copy of the content in host memory."""
        self.device.finish()
        return self._array.copy()

    def __reduce__(self) -> Any:
        raise AssertionError("arrays of the device are never pickled")


class FakeCSR:
    """A sparse matrix of the device: an opaque object but for the parts that the device names."""

    def __init__(self, data: FakeArray, indices: FakeArray, indptr: FakeArray, shape: tuple[int, int]) -> None:
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, shape


class FakeDevice:
    """The device.

    Parameters
    ----------
    limit_nbytes
        Bytes that are taken before the store is asked for room.
    capacity_nbytes
        Bytes that can be taken at all.
    """

    def __init__(self, limit_nbytes: int, capacity_nbytes: int = 2**40) -> None:
        self.limit_nbytes = limit_nbytes
        self.capacity_nbytes = capacity_nbytes
        self.faults = Faults()
        self.used_nbytes = 0
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._queued: deque[Callable[[], None]] = deque()
        self._done = self._asked = 0
        self._reclaim: Reclaim | None = None
        self._meter = Meter()

    # What tests do.

    def array(self, content: Any, order: Any = "K") -> FakeArray:
        """An array with this content, which queued work writes there, as a task's kernels would."""
        content = np.array(content, order=order)
        allocation = self._allocate(content.nbytes, temporary=True)
        array: NDArray[Any] = np.ndarray(content.shape, content.dtype, allocation.buffer, 0, content.strides)
        self._queue(lambda: np.copyto(array, content))
        return FakeArray(self, allocation, array)

    def finish(self) -> None:
        """Do all that is queued."""
        self._wait(self._asked)

    # What the store does.

    def install(self, reclaim: Reclaim, meter: Meter) -> None:
        self._reclaim, self._meter = reclaim, meter

    def uninstall(self) -> None:
        self._reclaim = None

    def is_array(self, x: Any) -> bool:
        return isinstance(x, FakeArray)

    def parts(self, x: Any) -> Iterable[FakeArray]:
        return (x.data, x.indices, x.indptr) if isinstance(x, FakeCSR) else ()

    def span(self, x: FakeArray) -> Span:
        low, high = np.lib.array_utils.byte_bounds(x._array)
        start = x.allocation.buffer.__array_interface__["data"][0]
        first = x._array.__array_interface__["data"][0]
        return Span(x.allocation.number, x.allocation.buffer.nbytes, low - start, high - start, first - start)

    def mark(self) -> int:
        with self._lock:
            return self._asked

    def download(self, copies: Sequence[Copy], after: int | None) -> None:
        self.faults.check("download")
        self._wait(self.mark() if after is None else after)
        for copy in copies:
            np.copyto(copy.frame, copy.x.allocation.buffer[copy.start : copy.start + copy.frame.nbytes])
            self._meter.moved("device_to_host", copy.frame.nbytes)

    def upload(self, frame: NDArray[np.uint8]) -> Allocation:
        self.faults.check("upload")
        allocation = self._allocate(frame.nbytes, temporary=False)
        self._queue(lambda: np.copyto(allocation.buffer, frame))
        self._meter.moved("host_to_device", frame.nbytes)
        return allocation

    def view(
        self, block: Allocation, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any
    ) -> FakeArray:
        return FakeArray(self, block, np.ndarray(shape, dtype, block.buffer, offset, strides))

    def trim(self, nbytes: int) -> None:
        pass

    def allocated_nbytes(self) -> int:
        return self.used_nbytes

    # How it does it.

    def _allocate(self, nbytes: int, *, temporary: bool) -> Allocation:
        self.faults.check("allocate")
        while not self._take(nbytes, self.limit_nbytes):
            self.finish()  # queued work may hold the last arrays over some memory
            if self._take(nbytes, self.limit_nbytes):
                break
            if self._reclaim is not None and self._reclaim(nbytes, temporary=temporary):
                continue
            if self._take(nbytes, self.capacity_nbytes):
                break
            raise MemoryError(f"the device has no {nbytes} bytes")
        allocation = Allocation(next(self._numbers), nbytes)
        weakref.finalize(allocation, self._free, nbytes).atexit = False
        return allocation

    def _take(self, nbytes: int, limit_nbytes: int) -> bool:
        with self._lock:
            if self.used_nbytes + nbytes > limit_nbytes:
                return False
            self.used_nbytes += nbytes
            return True

    def _free(self, nbytes: int) -> None:
        with self._lock:
            self.used_nbytes -= nbytes

    def _queue(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._queued.append(work)
            self._asked += 1

    def _wait(self, event: int) -> None:
        with self._lock:
            while self._done < event:
                self._queued.popleft()()
                self._done += 1
