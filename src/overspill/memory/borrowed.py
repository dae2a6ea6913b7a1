"""Tiles of other processes, mapped here: leases on them, and the mappings, kept for the next time.

Mapping and page-locking a block costs as much as copying part of it, and pools hand the same blocks out again and
again; so a mapping outlives its leases, until its owner gives the memory back or dies.
"""

import os
import threading

from overspill.memory import registry
from overspill.memory.segment import Handle, Lease, Segment, open_leased

_lock = threading.Lock()
_mapped: dict[tuple[int, int], Segment] = {}


def borrow(handle: Handle) -> Lease:
    """A read-only lease on another process's block.

    Raises
    ------
    StaleTileError
        If the block is gone or was recycled.
    """
    fd = open_leased(handle)
    with _lock:
        segment = _mapped.get(handle.file)
        if segment is None:
            # A duplicate would share the lease's file description, and with it the lock; this one has its own.
            mapped_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
            segment = Segment(mapped_fd, handle.nbytes, handle.owner, on_disk=handle.on_disk)
            _mapped[handle.file] = segment
            registry.add(segment)
        return Lease(segment, readonly=True, release=os.close, argument=fd)


def purge() -> None:
    """Drop the idle mappings whose owner has given the memory back or is gone."""
    with _lock:
        idle = [
            file
            for file, segment in _mapped.items()
            if not segment.leases and (segment.truncated or not _alive(segment.owner))
        ]
        dropped = [_mapped.pop(file) for file in idle]
        for segment in dropped:
            registry.remove(segment)
    # Not under the lock: taking back a dead worker's memory may take the system seconds, and others borrow meanwhile.
    for segment in dropped:
        segment.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
