"""Page-locking of tile memory, so that a GPU's copy engines reach it at the full speed of the link."""

import os
import warnings
from typing import Any

import cupy
from numpy.typing import NDArray

from overspill.memory import registry
from overspill.memory.segment import Segment

_PORTABLE = 1  # cudaHostRegisterPortable: locked for every device of the process


def pin(x: NDArray[Any]) -> bool:
    """Lock the pages of the tile under `x`, once for as long as it is mapped; False where that cannot be.

    Ordinary arrays, blocks on disk, and tiles past the system's limit of locked memory cannot be locked; they are
    copied through a page-locked buffer instead, or by the driver, both slower.
    """
    if not (found := registry.find(x)):
        return False
    segment, _ = found
    if segment.pinned is None:
        with segment.pinning:
            if segment.pinned is None:
                segment.pinned = _lock(segment)
    return segment.pinned


def is_locked(x: NDArray[Any]) -> bool:
    """Whether `x` is a tile whose pages are locked."""
    return bool((found := registry.find(x)) and found[0].pinned)


def is_recycled(x: NDArray[Any]) -> bool:
    """Whether `x` is a tile whose memory was another one before, of whatever kind."""
    return bool((found := registry.find(x)) and found[0].generation > 1)


def populate(x: NDArray[Any]) -> None:
    """Let the system make the pages of a new tile now; who writes to it, or locks them, need not wait for that."""
    if found := registry.find(x):
        segment, _ = found
        if segment.pinned is None:
            _populate(segment)


def _lock(segment: Segment) -> bool:
    if segment.on_disk:
        return False
    _populate(segment)
    if not _register(segment.address, segment.nbytes):
        return False
    segment.before_unmap.append(lambda: cupy.cuda.runtime.hostUnregister(segment.address))
    return True


def _populate(segment: Segment) -> None:
    if segment.owner == os.getpid() and not segment.on_disk:
        segment.populate()


def _register(address: int, nbytes: int) -> bool:
    try:
        cupy.cuda.runtime.hostRegister(address, nbytes, _PORTABLE)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        warnings.warn(
            f"cannot page-lock {nbytes} bytes for the GPU ({error}): copies will be several times slower; "
            "raise the limit of locked memory (ulimit -l)",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
