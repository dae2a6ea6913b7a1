"""CuPy memory within a limit, which whoever meets it hears of at once.

CuPy's own limit is of no use here: a pool that meets it first gives everything free back to the device, and for that it
waits until all that is queued there has been done. Besides, a pool cuts a small array out of a large free piece, which
then is too short for the next large one; small arrays have a pool of their own.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cupy

SMALL_NBYTES = 2**20
"""Arrays below this size are cut from slabs."""

SLAB_NBYTES = 16 * SMALL_NBYTES


class _NoSlabError(MemoryError):
    """A small array needs another slab."""


class CUDAPool:
    """Memory of the current GPU.

    Attributes
    ----------
    limit_nbytes
        What the pool does not grow beyond for large arrays. Slabs may pass it, and large arrays make up for them.
    """

    def __init__(self, limit_nbytes: int) -> None:
        self.limit_nbytes = limit_nbytes
        self._large = cupy.cuda.MemoryPool(self._grow)
        self._small = cupy.cuda.MemoryPool(self._cut)
        self._unlimited = threading.local()

    def malloc(self, nbytes: int) -> cupy.cuda.MemoryPointer:
        """Memory, from what is free or new; at the limit `cupy.cuda.memory.OutOfMemoryError`."""
        if nbytes >= SMALL_NBYTES:
            return self._large.malloc(nbytes)
        while True:
            try:
                return self._small.malloc(nbytes)
            except _NoSlabError:
                with self.unlimited():
                    self._small.malloc(SLAB_NBYTES)  # let go at once, which leaves it to be cut

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Let this thread have what it asks for inside the block, whatever the limit."""
        before = getattr(self._unlimited, "now", False)
        self._unlimited.now = True
        try:
            yield
        finally:
            self._unlimited.now = before

    def total_nbytes(self) -> int:
        """Bytes taken from the device, free ones included."""
        return int(self._large.total_bytes() + self._small.total_bytes())

    def used_nbytes(self) -> int:
        """Bytes that arrays have, and slabs, of which large arrays can have nothing."""
        return int(self._large.used_bytes() + self._small.total_bytes())

    def free_nbytes(self) -> int:
        """Bytes that arrays could have without anything new, if they were of the right sizes."""
        return int(self._large.free_bytes() + self._small.free_bytes())

    def trim(self) -> None:
        """Give what is free back to the device, once all that is queued there has been done."""
        self._large.free_all_blocks()
        self._small.free_all_blocks()

    def _grow(self, nbytes: int) -> cupy.cuda.MemoryPointer:
        # CuPy counts what it asks for before it does so.
        total = self.total_nbytes()
        if total > self.limit_nbytes and not getattr(self._unlimited, "now", False):
            raise cupy.cuda.memory.OutOfMemoryError(nbytes, total - nbytes, self.limit_nbytes)
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(nbytes), 0)

    def _cut(self, nbytes: int) -> cupy.cuda.MemoryPointer:
        if nbytes < SLAB_NBYTES:
            raise _NoSlabError
        return self._grow(nbytes)
