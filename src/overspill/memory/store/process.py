"""What this process has of the spill store: the one device it uses, and whether a store is open."""

import threading

from overspill import backend
from overspill.memory.store.device import Device

_lock = threading.Lock()
_device: Device | None = None
_open: set[int] = set()


def device(limit_nbytes: int | None = None) -> Device | None:
    """The GPU of this process as the store's device, kept to a limit if one is given; None where there is none."""
    global _device
    with _lock:
        if _device is None and backend.gpus():
            from overspill.memory.store.cuda import CUDADevice

            _device = CUDADevice()
        if _device is not None and limit_nbytes is not None:
            _device.limit_nbytes = limit_nbytes
        return _device


def trim(nbytes: int) -> None:
    """Give back to the GPU what the store's device keeps free, if `nbytes` more pass its limit; waits then."""
    if _device is not None:
        _device.trim(nbytes)


def opened(store: object) -> None:
    """Note that `store` takes what other processes send."""
    _open.add(id(store))


def closed(store: object) -> None:
    """Note that `store` takes nothing any more."""
    _open.discard(id(store))


def has_store() -> bool:
    """Whether a worker's store is open here."""
    return bool(_open)
