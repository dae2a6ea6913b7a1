"""The pool: a process's allocator of tile memory, which recycles blocks and keeps to a byte limit."""

import threading
from collections import defaultdict, deque
from collections.abc import Callable

from overspill.memory import registry
from overspill.memory.descriptors import raise_descriptor_limit
from overspill.memory.segment import PAGE, Lease, Segment


def block_nbytes(nbytes: int) -> int:
    """Size of the block that holds `nbytes` bytes: whole pages, at least one."""
    return max(1, -(-nbytes // PAGE)) * PAGE


class Pool:
    """Blocks of shared memory of this process, recycled by size.

    A block in use is never recycled: not while an array here is based on it, nor while another process holds a lease.
    Past `limit_nbytes` idle blocks of other sizes are given back to the system, then `reclaim` is asked to free some
    that are in use; when that is not enough, the new block is an unlinked file in `directory`, slower but correct, and
    `overflow_nbytes` says so.

    Parameters
    ----------
    limit_nbytes
        Bytes of memory that the pool's blocks may take together.
    directory
        Where blocks past the limit live; a directory on a disk, not on a memory file system.
    """

    def __init__(self, limit_nbytes: int, directory: str) -> None:
        raise_descriptor_limit()
        self.limit_nbytes = limit_nbytes
        self.directory = directory
        self.nbytes = 0
        self.peak_nbytes = 0
        self.overflow_nbytes = 0
        self.reclaim: Callable[[int], bool] | None = None
        """Asked for bytes of blocks in use before the pool goes past its limit; says whether it could do anything."""
        self._lock = threading.Lock()
        self._idle: defaultdict[int, list[Segment]] = defaultdict(list)
        self._lent: list[Segment] = []
        self._blocks = 0
        # Leases end whenever the garbage collector finds them, perhaps while this thread holds the lock: an append
        # to a deque needs none.
        self._released: deque[Segment] = deque()

    def allocate(self, nbytes: int) -> Lease:
        """A lease on a block of at least `nbytes` bytes, its content undefined."""
        size = block_nbytes(nbytes)
        while self._is_full(size) and (reclaim := self.reclaim) is not None and reclaim(size):
            pass
        with self._lock:
            self._collect()
            segment = idle.pop() if (idle := self._idle[size]) else self._create(size)
            self.peak_nbytes = max(self.peak_nbytes, self.nbytes - self._idle_nbytes())
            segment.begin_use()
            return Lease(segment, readonly=False, release=self._released.append, argument=segment)

    def used_nbytes(self) -> int:
        """Bytes of memory in blocks that somebody, here or in another process, still uses."""
        with self._lock:
            self._collect()
            return self.nbytes - self._idle_nbytes()

    def trim(self) -> int:
        """Give the idle blocks back to the system; the number of those still in use."""
        with self._lock:
            self._collect()
            self._trim(self.nbytes)
            return self._blocks

    def _is_full(self, size: int) -> bool:
        """Whether a block of `size` would go past the limit even if all idle ones of other sizes were given back."""
        with self._lock:
            self._collect()
            return not self._idle[size] and self.nbytes - self._idle_nbytes() + size > self.limit_nbytes

    def _create(self, size: int) -> Segment:
        if (excess := self.nbytes + size - self.limit_nbytes) > 0:
            self._trim(excess)
        on_disk = self.nbytes + size > self.limit_nbytes
        segment = Segment.create(size, self.directory if on_disk else None)
        registry.add(segment)
        self._blocks += 1
        if on_disk:
            self.overflow_nbytes += size
        else:
            self.nbytes += size
        return segment

    def _collect(self) -> None:
        """Sort the blocks released here into idle ones and those that another process still holds."""
        candidates, self._lent = self._lent, []
        while self._released:
            candidates.append(self._released.popleft())
        for segment in candidates:
            if not segment.free_elsewhere():
                self._lent.append(segment)
            elif segment.on_disk:
                self._give_back(segment)
            else:
                self._idle[segment.nbytes].append(segment)

    def _trim(self, nbytes: int) -> None:
        for size in sorted(self._idle, reverse=True):
            while nbytes > 0 and self._idle[size]:
                self._give_back(self._idle[size].pop(0))
                nbytes -= size

    def _give_back(self, segment: Segment) -> None:
        registry.remove(segment)
        self._blocks -= 1
        if not segment.on_disk:
            self.nbytes -= segment.nbytes
        segment.close(truncate=True)

    def _idle_nbytes(self) -> int:
        return sum(size * len(segments) for size, segments in self._idle.items())
