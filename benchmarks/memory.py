"""Memory of this process and all its children, pages that several of them map counted once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil


@dataclass
class Peak:
    """The most bytes seen so far."""

    nbytes: int = 0


@contextmanager
def sampled(interval_s: float = 0.1) -> Iterator[Peak]:
    """Sample the proportional set sizes of all processes inside the block, which slows them a little."""
    peak, done = Peak(), threading.Event()

    def sample() -> None:
        while not done.is_set():
            peak.nbytes = max(peak.nbytes, total_pss_nbytes())
            time.sleep(interval_s)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def total_pss_nbytes() -> int:
    """Bytes of this process and its descendants, each shared page divided among those that map it."""
    here = psutil.Process()
    return sum(_pss_nbytes(process.pid) for process in (here, *here.children(recursive=True)))


def _pss_nbytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        return 0
