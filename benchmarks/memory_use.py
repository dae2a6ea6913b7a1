"""Memory in use while something runs: of this process and all its children, or on the GPUs."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import psutil

LOADED = """
import cupy
x = cupy.ones((2048, 2048))
x = x @ x
cupy.cuda.Device().synchronize()
del x
cupy.get_default_memory_pool().free_all_blocks()
print(flush=True)
input()
"""
"""A program that has used cuBLAS, holds no array, and waits."""


BLOCK_NBYTES = 2**28
"""Bytes that one thread touches at a time."""


@dataclass
class Peak:
    """The most bytes seen so far."""

    nbytes: int = 0


def total_pss_nbytes() -> int:
    """Bytes of this process and its descendants' proportional set sizes: each shared page divided among its users."""
    here = psutil.Process()
    return sum(_pss_nbytes(process.pid) for process in (here, *here.children(recursive=True)))


def touch(nbytes: int) -> None:
    """Write to so much memory at once, and let go of it.

    A virtual machine has to ask its host for every page that nobody has used since it was started: whoever comes first
    would pay for those who come later.
    """
    with ThreadPoolExecutor() as threads:
        blocks = [threads.submit(np.ones, BLOCK_NBYTES, np.uint8) for _ in range(nbytes // BLOCK_NBYTES)]
        for block in blocks:
            block.result()


def on_gpus_nbytes() -> list[int]:
    """Bytes in use on each GPU, by whatever process, as the driver tells."""
    from cupy.cuda import Device, runtime

    in_use = []
    for number in range(runtime.getDeviceCount()):
        with Device(number):
            free_nbytes, nbytes = runtime.memGetInfo()
        in_use.append(nbytes - free_nbytes)
    return in_use


def context_nbytes() -> int:
    """Bytes that a process takes on a GPU without any array: a context, and cuBLAS with what it allocates."""
    before = on_gpus_nbytes()[0]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", LOADED], text=True, **streams) as program:
        assert program.stdout and program.stdin
        assert program.stdout.readline(), "cuBLAS cannot be used"
        found = on_gpus_nbytes()[0] - before
        program.communicate("\n")
    return found


@contextmanager
def sampled(read: Callable[[], int] = total_pss_nbytes, interval_s: float = 0.1) -> Iterator[Peak]:
    """Sample the bytes that `read` tells inside the block, which slows it a little."""
    peak, done = Peak(), threading.Event()

    def sample() -> None:
        while not done.is_set():
            peak.nbytes = max(peak.nbytes, read())
            time.sleep(interval_s)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _pss_nbytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
