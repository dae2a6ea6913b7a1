"""What this process has of the spill store: the one device it uses, and which stores are open."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from overspill import backend
from overspill.memory.store.device import Device
from overspill.memory.store.turns import Turns

_lock = threading.Lock()
_device: Device | None = None
_open: set[Turns] = set()


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


def opened(turns: Turns) -> None:
    """Note that a store, with the `turns` of its tasks, takes what other processes send."""
    _open.add(turns)


def closed(turns: Turns) -> None:
    """Note that the store of `turns` takes nothing any more."""
    _open.discard(turns)


def has_store() -> bool:
    """Whether a worker's store is open here."""
    return bool(_open)


@contextmanager
def standing() -> Iterator[None]:
    """Count the calling task among those that wait: no task that lacks memory waits for it meanwhile."""
    with ExitStack() as stack:
        for turns in tuple(_open):
            stack.enter_context(turns.standing())
        yield
