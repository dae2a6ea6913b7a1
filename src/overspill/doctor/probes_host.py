"""How fast a core is: its memory, its arithmetic, and the disk below it."""

import ctypes
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import numpy as np

from overspill import memory
from overspill.doctor import products
from overspill.doctor.facts import IN_MEMORY
from overspill.doctor.look import file_system
from overspill.doctor.probe import Effort, Probe, Step
from overspill.errors import StorageError
from overspill.kernels import fused_numpy
from overspill.kernels.tracing import Elements, trace
from overspill.memory.segment import Segment
from overspill.memory.tile import pool

TOUCHED_AT_MOST = 4
"""Fresh segments that a worker makes for one figure: they are kept until it is taken."""

IN_CACHE_NBYTES = 2**16
"""Of three operands that stay in a core's cache."""

WRITTEN_NBYTES = 2**23
"""Written or read at a time; what is written is on the disk before the next."""

WRITTEN_S = 3.0
"""Seconds after which the file that is to be read is long enough."""


@contextmanager
def copying(effort: Effort) -> Iterator[Step]:
    """Copies between arrays that have been used before; counts bytes copied."""
    source, target = (np.ones(effort.host_nbytes, np.uint8) for _ in range(2))

    def step() -> float:
        np.copyto(target, source)
        return float(source.nbytes)

    yield step


@contextmanager
def touching(effort: Effort) -> Iterator[Step]:
    """First writes to the pages of new tiles; counts bytes of tiles."""
    with ExitStack() as kept:
        made = 0

        def step() -> float:
            nonlocal made
            if made == TOUCHED_AT_MOST:
                return 0
            segment = Segment.create(effort.host_nbytes)
            kept.callback(segment.close, truncate=True)
            ctypes.memset(segment.address, 1, segment.nbytes)
            made += 1
            return float(segment.nbytes)

        yield step


@contextmanager
def adding_in_memory(effort: Effort) -> Iterator[Step]:
    """``x + 1`` as a task does it, tiles to new tiles; counts bytes read and written."""
    pool().trim()  # or results would lie in tiles that were used before
    x = memory.empty((effort.host_nbytes // 4,), np.float32)
    x[:] = 1
    expression = trace(lambda a: a + np.float32(1), (Elements(x.dtype),), {})
    made: list[Any] = []

    def step() -> float:
        if len(made) == TOUCHED_AT_MOST:
            return 0
        made.extend(fused_numpy.evaluate(expression, (x,)))
        return 2.0 * x.nbytes

    yield step


@contextmanager
def adding_in_cache(effort: Effort) -> Iterator[Step]:
    """Additions of float32 that a core's cache holds; counts additions."""
    x, y, z = (np.ones(IN_CACHE_NBYTES // 4, np.float32) for _ in range(3))

    def step() -> float:
        for _ in range(100):
            np.add(x, y, out=z)
        return 100.0 * z.size

    yield step


@contextmanager
def drawing(effort: Effort) -> Iterator[Step]:
    """Normal random numbers, as a chunk that is made anew; counts their bytes."""
    rng = np.random.Generator(np.random.PCG64(0))
    count = min(effort.host_nbytes, 2**23) // 8

    def step() -> float:
        return float(rng.standard_normal(count).nbytes)

    yield step


@contextmanager
def writing(effort: Effort) -> Iterator[Step]:
    """Blocks of a file, each on the disk before the next; counts bytes."""
    with tempfile.TemporaryFile(dir=effort.folder, buffering=0) as file:
        block = np.random.default_rng(0).bytes(min(WRITTEN_NBYTES, effort.file_nbytes))

        def step() -> float:
            if os.lseek(file.fileno(), 0, os.SEEK_CUR) >= effort.file_nbytes:
                os.lseek(file.fileno(), 0, os.SEEK_SET)
            _write(file, block)
            os.fdatasync(file.fileno())
            return float(len(block))

        yield step


@contextmanager
def reading(effort: Effort) -> Iterator[Step]:
    """Blocks of a file that the page cache has forgotten; counts bytes.

    Raises
    ------
    StorageError
        If it does not forget them: what would be measured is memory.
    """
    with tempfile.TemporaryFile(dir=effort.folder, buffering=0) as file:
        block = bytearray(np.random.default_rng(0).bytes(min(WRITTEN_NBYTES, effort.file_nbytes)))
        end = time.monotonic() + WRITTEN_S
        for _ in range(max(1, effort.file_nbytes // len(block))):
            _write(file, block)
            os.fdatasync(file.fileno())
            if time.monotonic() > end:  # what a slow disk has by then is enough to read
                break
        _forget(file)
        if file_system(effort.folder) in IN_MEMORY or _is_cached(file, len(block)):
            raise StorageError(f"{effort.folder} keeps its files in memory, so that nothing is read from a disk")

        def step() -> float:
            got = os.readv(file.fileno(), [block])
            if got < len(block):
                _forget(file)
                got += os.readv(file.fileno(), [block])
            return float(got)

        yield step


PROBES = (
    *products.probes("numpy"),
    Probe("memory copy", "B", copying),
    Probe("first touch of tiles", "B", touching),
    Probe("elementwise, in memory", "B", adding_in_memory),
    Probe("elementwise, in cache", "additions", adding_in_cache),
    Probe("random numbers", "B", drawing),
    Probe("disk, writing", "B", writing),
    Probe("disk, reading", "B", reading),
)


def _write(file: BinaryIO, block: bytes | bytearray) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(file.fileno(), left) :]


def _forget(file: BinaryIO) -> None:
    """Let the page cache drop the file, which it does with what is on the disk, and go back to its beginning."""
    os.fsync(file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(file.fileno(), 0, os.SEEK_SET)


def _is_cached(file: BinaryIO, nbytes: int) -> bool:
    """Whether the middle of the file's first `nbytes` can be read without waiting for a disk."""
    try:
        return os.preadv(file.fileno(), [bytearray(1)], nbytes // 2, os.RWF_NOWAIT) > 0
    except OSError:  # not without waiting, or a file system that does not tell
        return False
