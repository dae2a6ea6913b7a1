"""The memory of this process's GPU within a limit: arrays, blocks for copies up, and room made where there is none."""

from collections.abc import Callable
from typing import Any

import cupy
from cupy.cuda import runtime

from overspill import backend
from overspill.memory.store.blocks import SPARE, Blocks
from overspill.memory.store.device import Reclaim
from overspill.memory.store.pool_cuda import CUDAPool


class CUDAMemory:
    """What CuPy and copies up take of the current GPU.

    Attributes
    ----------
    pool
        Where it all comes from, unless this process had chosen an allocator of its own.
    """

    def __init__(self) -> None:
        self.pool = CUDAPool(min(gpu.nbytes for gpu in backend.gpus()))
        self._id = runtime.getDevice()
        self._blocks = Blocks()
        self._reclaim: Reclaim | None = None
        self._allocator_before: Callable[[int], Any] | None = None
        # An allocator that was chosen for this process, RMM's say, stays; it knows no limit.
        self._chosen: Callable[[int], Any] | None = None

    @property
    def watched(self) -> bool:
        """Whether somebody makes room here, and looks after what is idle."""
        return self._reclaim is not None

    def install(self, reclaim: Reclaim) -> None:
        """Have CuPy allocate here, and ask `reclaim` for bytes where that fails."""
        self._reclaim = reclaim
        if self._allocator_before is None:
            self._allocator_before = cupy.cuda.get_allocator()
            is_default = self._allocator_before == cupy.get_default_memory_pool().malloc
            self._chosen = None if is_default else self._allocator_before
            cupy.cuda.set_allocator(self.allocate)

    def uninstall(self) -> None:
        """Leave CuPy's memory to CuPy."""
        if self._allocator_before is not None:
            cupy.cuda.set_allocator(self._allocator_before)
        self._reclaim = self._allocator_before = None
        self.trim()

    def allocate(self, nbytes: int) -> cupy.cuda.MemoryPointer:
        """CuPy's allocator: makes room and tries again before anybody sees an error."""
        malloc = self._chosen or self.pool.malloc
        while True:
            try:
                return malloc(nbytes)
            except MemoryError:
                if self._blocks.drop(nbytes):
                    continue
                # What the pool keeps free in the wrong sizes is given back late, since that waits for the device; but
                # before many values have gone for it.
                if self.pool.free_nbytes() >= max(nbytes, self.pool.limit_nbytes // 8) and self.trim():
                    continue
                if self._reclaim is not None and self._reclaim(nbytes, temporary=True):
                    continue
                if self.trim():
                    continue
                # Better than failing what cannot do with less, if the device has it.
                with self.pool.unlimited():
                    return malloc(nbytes)

    def take(self, size: int) -> tuple[cupy.cuda.MemoryPointer, cupy.cuda.Event]:
        """Memory for a copy up, and the event after which nothing uses it any more."""
        # Within the limit, be it new memory or among what the pool has free.
        has_room = self._reclaim is None or self.pool.used_nbytes() + size <= self.pool.limit_nbytes
        block = self._blocks.take(size, leave=SPARE if has_room else 0)
        if block is None and self._reclaim is not None and not has_room and not self._blocks.drop_one(size):
            self._reclaim(size, temporary=False)
            block = self._blocks.take(size, leave=0)
        if block is None:
            with cupy.cuda.Stream.null:
                block = cupy.cuda.alloc(size), queued()
        return block

    def release(self, size: int, pointer: cupy.cuda.MemoryPointer) -> None:
        """Take back what `take` gave, though kernels that are queued may still read it; never waits."""
        # Without a store it goes to CuPy's pool at once, since nobody would ask for it here.
        if self._reclaim is not None:
            with cupy.cuda.Device(self._id):
                self._blocks.release(size, pointer, queued())

    def trim(self) -> bool:
        """Give what is free back to the device, once all that is queued is done; whether that was anything."""
        before = self.pool.total_nbytes()
        self._blocks.drop()
        self.pool.trim()
        return self.pool.total_nbytes() < before


def queued() -> cupy.cuda.Event:
    """What is queued on the null stream now."""
    event = cupy.cuda.Event(disable_timing=True)
    event.record(cupy.cuda.Stream.null)
    return event
