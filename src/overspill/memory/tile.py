"""Tiles: ordinary NumPy arrays whose bytes lie in shared memory, and travel between processes of a host as handles."""

import errno
import math
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from overspill.errors import MemoryBudgetError
from overspill.memory import borrowed, registry
from overspill.memory.copying import copy
from overspill.memory.pool import Pool
from overspill.memory.segment import PAGE, Handle, supported
from overspill.units import format_nbytes

SMALLEST_NBYTES = 16 * PAGE
"""Arrays below this size travel as bytes: a block, its descriptor and its mapping would cost more than they save."""

_lock = threading.Lock()
_pool: Pool | None = None
_lock_pages: Callable[[NDArray[Any]], object] | None = None
_closed: list[Pool] = []


@dataclass(frozen=True, slots=True)
class TileHandle:
    """A tile, or a view of one, as it travels between processes of one host."""

    segment: Handle
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


def configure(
    *, pool_nbytes: int, directory: str | None = None, lock_pages: Callable[[NDArray[Any]], object] | None = None
) -> None:
    """Set this process's tile limit in bytes, and the directory on disk for what goes past it.

    Where a GPU will read tiles, `lock_pages` is called with each new one that is to be locked at once: a product that
    found its pages unlocked would wait for them to be locked.
    """
    global _pool, _lock_pages
    _lock_pages = lock_pages
    directory = directory or tempfile.gettempdir()
    with _lock:
        if _pool is not None:
            _pool.limit_nbytes, _pool.directory = pool_nbytes, directory
        else:
            _pool = Pool(pool_nbytes, directory)


def pool() -> Pool:
    """The pool of this process; without `configure` it is limited only by the system."""
    global _pool
    with _lock:
        if _pool is None:
            _pool = Pool(2**62, tempfile.gettempdir())
        return _pool


def close() -> None:
    """Give this process's idle tiles back to the system; those in use follow at a `purge` after their release."""
    global _pool, _lock_pages
    _lock_pages = None
    with _lock:
        if _pool is not None:
            _closed.append(_pool)
        _pool = None
    purge()


def purge() -> None:
    """Let go of what is idle: tiles of closed pools, and mappings whose owner has given the memory back or is gone."""
    with _lock:
        _closed[:] = [pool for pool in _closed if pool.trim()]
    borrowed.purge()


def _forget() -> None:
    """In a forked child: neither hand out nor give back the parent's blocks, nor use its GPU, which CUDA forbids."""
    global _lock, _pool, _lock_pages
    _lock, _pool, _lock_pages = threading.Lock(), None, None
    _closed.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def empty(shape: tuple[int, ...], dtype: DTypeLike, *, lock: bool = True) -> NDArray[Any]:
    """An uninitialised tile in C order; an ordinary array where it is too small or the system cannot share memory.

    Whoever has the tile made without a `lock`, where a GPU will read it, locks its pages when that is in nobody's way.

    Raises
    ------
    MemoryBudgetError
        If the pool is full, and the disk behind it too.
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < SMALLEST_NBYTES or not supported():
        return np.empty(shape, dtype)
    try:
        data = np.asarray(pool().allocate(nbytes))
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):  # each tile holds a descriptor; ordinary arrays travel as bytes
            return np.empty(shape, dtype)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MemoryBudgetError(
                f"the tile pool is full ({format_nbytes(pool().limit_nbytes)}) and {pool().directory} has no room for "
                f"{format_nbytes(nbytes)} more: raise memory=, or name a larger disk with local_directory="
            ) from None
        raise
    if lock and _lock_pages is not None:
        _lock_pages(data)
    return data[:nbytes].view(dtype).reshape(shape)


def as_tile(x: NDArray[Any]) -> NDArray[Any]:
    """`x` itself when it is a tile in C order, else a copy of it in one."""
    if is_tile(x) and x.flags.c_contiguous:
        return x
    tile = empty(x.shape, x.dtype)
    copy(tile, x)
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
