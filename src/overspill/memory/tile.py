"""Tiles: ordinary NumPy arrays whose bytes lie in shared memory, and travel between processes of a host as handles."""

import math
import os
import tempfile
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from overspill.memory import borrowed, registry
from overspill.memory.pool import Pool
from overspill.memory.segment import Handle, supported

SMALLEST_NBYTES = 64 * 1024
"""Arrays below this size travel as bytes: a block, its descriptor and its mapping would cost more than they save."""

_lock = threading.Lock()
_pool: Pool | None = None
_pool_pid = 0


@dataclass(frozen=True, slots=True)
class TileHandle:
    """A tile, or a view of one, as it travels between processes of one host."""

    segment: Handle
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


def configure(*, pool_nbytes: int, directory: str | None = None) -> None:
    """Set this process's tile limit in bytes, and the directory on disk for what goes past it."""
    global _pool, _pool_pid
    with _lock:
        if _pool is not None and _pool_pid == os.getpid():
            _pool.limit_nbytes, _pool.directory = pool_nbytes, directory or tempfile.gettempdir()
        else:
            _pool, _pool_pid = Pool(pool_nbytes, directory or tempfile.gettempdir()), os.getpid()


def pool() -> Pool:
    """This process's pool; without `configure` it is limited only by the system."""
    if _pool is None or _pool_pid != os.getpid():  # a forked child must not hand out its parent's blocks
        configure(pool_nbytes=2**62)
    assert _pool is not None
    return _pool


def close() -> None:
    """Give this process's idle tiles back to the system; those in use follow as they are released."""
    global _pool
    with _lock:
        if _pool is not None and _pool_pid == os.getpid():
            _pool.close()
        _pool = None
    borrowed.purge()


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An uninitialised tile in C order; an ordinary array where it is too small or the system cannot share memory."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALLEST_NBYTES or not supported():
        return np.empty(shape, dtype)
    data = np.asarray(pool().allocate(nbytes))
    return data[:nbytes].view(dtype).reshape(shape)


def as_tile(x: NDArray[Any]) -> NDArray[Any]:
    """`x` itself when it is a tile in C order, else a copy of it in one."""
    if is_tile(x) and x.flags.c_contiguous:
        return x
    tile = empty(x.shape, x.dtype)
    np.copyto(tile, x)
    return tile


def is_tile(x: Any) -> bool:
    """Whether `x` is a NumPy array over tile memory, of this process or borrowed."""
    return isinstance(x, np.ndarray) and registry.find(x) is not None


def to_handle(x: NDArray[Any]) -> TileHandle | None:
    """The handle of a tile or of a view of one, None for an ordinary array; valid as long as `x` is kept."""
    if type(x) is not np.ndarray or x.dtype.hasobject or x.dtype.names or not (found := registry.find(x)):
        return None
    segment, offset = found
    return TileHandle(segment.handle, offset, x.shape, x.strides, x.dtype.str)


def from_handle(handle: TileHandle) -> NDArray[Any]:
    """The tile behind `handle`, mapped here, read-only."""
    data = np.asarray(borrowed.borrow(handle.segment))
    return np.ndarray(handle.shape, handle.dtype, buffer=data, offset=handle.offset, strides=handle.strides)
