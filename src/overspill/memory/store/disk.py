"""The lowest tier: packed values as raw files in the worker's directory.

A file is written under a temporary name and renamed once it is whole. It holds a pickled header, then the frames, each
from a page boundary on, so that they are read straight into tiles.
"""

import errno
import itertools
import os
import pickle
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from overspill.errors import MemoryBudgetError
from overspill.memory import tile
from overspill.memory.ledger import Link
from overspill.memory.segment import PAGE
from overspill.memory.store.accounts import Extents
from overspill.memory.store.meter import Meter
from overspill.memory.store.packing import Packed
from overspill.units import format_nbytes

DIRECTORY = "spilled"

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class File:
    """A packed value on disk: its path and its size in bytes."""

    path: Path
    nbytes: int

    @property
    def extents(self) -> Extents:
        """What it holds of the disk: itself."""
        return ((self.path, self.nbytes),)


class Disk:
    """The files of one store, in `parent`, which should not be a file system in memory."""

    def __init__(self, parent: str | os.PathLike[str], meter: Meter) -> None:
        self.directory = Path(parent) / DIRECTORY
        self._meter = meter
        self._numbers = itertools.count()

    def write(self, packed: Packed) -> File:
        """A new file with the whole of `packed`.

        Raises
        ------
        MemoryBudgetError
            If the disk is full; nothing of the file is left then.
        """
        sizes = [frame.nbytes for frame in packed.frames]
        header = pickle.dumps((packed.skeleton, packed.layouts, sizes), protocol=pickle.HIGHEST_PROTOCOL)
        nbytes = _LENGTH.size + len(header)
        offsets = []
        for size in sizes:
            offsets.append(_aligned(nbytes))
            nbytes = offsets[-1] + size
        path = self.directory / str(next(self._numbers))
        partial = path.with_suffix(".partial")
        with self._busy("host_to_disk", nbytes), self._room_for(partial, nbytes):
            self.directory.mkdir(parents=True, exist_ok=True)
            with open(partial, "xb", buffering=0) as file:
                if hasattr(os, "posix_fallocate"):
                    # Space that is promised now cannot be lacking halfway.
                    os.posix_fallocate(file.fileno(), 0, nbytes)
                _write(file.fileno(), np.frombuffer(_LENGTH.pack(len(header)) + header, np.uint8), 0)
                for frame, offset in zip(packed.frames, offsets, strict=True):
                    _write(file.fileno(), frame, offset)
            partial.rename(path)
        return File(path, nbytes)

    def read(self, file: File) -> Packed:
        """The packed value of `file`, its frames in tiles."""
        with self._busy("disk_to_host", file.nbytes), open(file.path, "rb", buffering=0) as source:
            (length,) = _LENGTH.unpack(source.read(_LENGTH.size))
            skeleton, layouts, sizes = pickle.loads(source.read(length))
            end = _LENGTH.size + length
            frames = []
            for size in sizes:
                frame = tile.empty((size,), np.uint8)
                _read(source, frame, _aligned(end))
                end = _aligned(end) + size
                frames.append(frame)
        return Packed(skeleton, layouts, tuple(frames))

    def remove(self, file: File) -> None:
        """Delete `file`."""
        file.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def _busy(self, link: Link, nbytes: int) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._meter.moved(link, nbytes)
        self._meter.took(link, time.perf_counter() - begin)

    @contextmanager
    def _room_for(self, partial: Path, nbytes: int) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = shutil.disk_usage(self.directory.parent).free
            raise MemoryBudgetError(
                f"{self.directory} has no room for {format_nbytes(nbytes)} more ({format_nbytes(free)} free): raise "
                f"memory=, or name a larger disk with local_directory="
            ) from None


def _aligned(offset: int) -> int:
    return -(-offset // PAGE) * PAGE


def _write(fd: int, data: NDArray[np.uint8], offset: int) -> None:
    view = memoryview(data.data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _read(source: FileIO, data: NDArray[np.uint8], offset: int) -> None:
    view = memoryview(data.data)
    while view:
        got = os.preadv(source.fileno(), [view], offset)
        if not got:
            raise OSError(errno.EIO, f"a spilled file ends {len(view)} bytes too early", source.name)
        view, offset = view[got:], offset + got
