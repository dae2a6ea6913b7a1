"""Other processes for tests: they do what they are told with tiles, until they end or are killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from overspill import memory
from overspill.memory.tile import TileHandle, from_handle, to_handle

_kept: dict[str, Any] = {}


class Peer:
    """A process that runs functions of this module on demand."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        self.process.start()
        theirs.close()

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        """What `function` returns there; what it raises, raised here."""
        self._pipe.send((function, args))
        assert self._pipe.poll(30), "the other process does not answer"
        result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        return result

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def close(self) -> None:
        self._pipe.close()
        self.process.join(30)
        self.process.close()


def _serve(pipe: Any) -> None:
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(function(*args))
        except Exception as error:
            pipe.send(error)


def make(name: str, n: int, value: float) -> TileHandle:
    """Fill a tile with `value`, keep it, and tell its handle."""
    _kept[name] = memory.empty((n,), float)
    _kept[name][...] = value
    return handle(name)


def handle(name: str) -> TileHandle:
    found = to_handle(_kept[name])
    assert found is not None
    return found


def borrow(name: str, handle: TileHandle) -> float:
    """Map another process's tile, keep it, and tell its sum."""
    _kept[name] = from_handle(handle)
    return total(name)


def total(name: str) -> float:
    return float(_kept[name].sum())


def drop(name: str) -> None:
    del _kept[name]


def mappings() -> int:
    """Mappings of tiles in the process this runs in."""
    memory.purge()
    with open("/proc/self/maps") as maps:
        return sum("memfd:overspill-tile" in line for line in maps)


def close() -> None:
    memory.close()


def forget() -> None:
    """Be as new."""
    _kept.clear()
    memory.close()


def same(name: str, x: np.ndarray[Any, Any]) -> bool:
    """Whether the kept array equals `x` in values, shape, dtype and strides."""
    kept = _kept[name]
    return bool(np.array_equal(kept, x)) and (kept.dtype, kept.shape) == (x.dtype, x.shape)


def strides(name: str) -> tuple[int, ...]:
    return tuple(_kept[name].strides)
