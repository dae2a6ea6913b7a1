"""What a computation may use: workers, budgets in bytes, and measured or assumed rates. Integers only."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rates:
    """Speeds of one worker's device and its links, or of one core, while all workers are busy.

    Attributes
    ----------
    gemm_flop_per_s
        Matrix product, operations per second by element type; ``"integer"`` stands for all integer types.
    upload_per_s, download_per_s
        Host to device and back, bytes per second, all devices copying at once.
    both_ways_per_s
        Both at once, bytes per second of the two together.
    disk_per_s
        Reading a store, bytes per second of one task.
    recompute_per_s
        Making a chunk from a cheap graph, bytes per second of one task.
    memory_per_s
        Arrays read and written by elementwise work, bytes per second of one core or one device.
    elementwise_per_s
        Additions of float32, per second of one core in its cache or of one device; see `planning.operations`.
    task_s
        What one task costs besides its work, seconds.
    source
        Where these figures come from, for people.
    """

    gemm_flop_per_s: Mapping[str, float]
    upload_per_s: float
    download_per_s: float
    both_ways_per_s: float
    disk_per_s: float
    recompute_per_s: float
    memory_per_s: float
    elementwise_per_s: float
    task_s: float
    source: str

    def __hash__(self) -> int:
        """Of what tells most rates apart; mappings have none."""
        return hash((self.source, self.upload_per_s, self.memory_per_s, self.task_s))


@dataclass(frozen=True, slots=True)
class Resources:
    """What the workers together may use.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"cuda"``: what the workers' streams run on.
    workers
        Number of worker processes.
    threads
        Tasks that one worker runs at a time.
    device_nbytes
        Budget on one worker's GPU, in bytes; 0 on CPUs, whose memory is the host's.
    pool_nbytes
        Bytes of tiles that all workers' pools together may hold.
    rates
        Speeds of `device`.
    host_rates
        Speeds of the same workers' CPU, to tell which side should do the work.
    network
        What carries chunks between the workers' GPUs, and why, for people; empty where there are none.
    """

    device: Literal["cpu", "cuda"]
    workers: int
    threads: int
    device_nbytes: int
    pool_nbytes: int
    rates: Rates
    host_rates: Rates
    network: str = ""


_active: list[Resources] = []


@contextmanager
def using(resources: Resources) -> Iterator[Resources]:
    """Make plans drawn inside the block assume `resources`; the innermost block counts."""
    _active.append(resources)
    try:
        yield resources
    finally:
        _active.remove(resources)


def active() -> Resources | None:
    """The resources of the innermost `using` block, if there is one."""
    return _active[-1] if _active else None
