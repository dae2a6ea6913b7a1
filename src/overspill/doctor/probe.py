"""What a probe is: something to do again and again, how much of it is done in a second, and on how much data."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from overspill.memory.segment import PAGE

Step = Callable[[], float]
"""Does some work and returns how much it was; 0 when there is no more to do."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time and data a measurement takes.

    Attributes
    ----------
    window_s, device_window_s
        Seconds that each figure of cores and of GPUs is measured for; a GPU slows down as it gets warm.
    host_nbytes
        Size of the arrays in host memory, of each worker.
    host_n
        Order of the matrices that a core multiplies.
    device_nbytes
        Size of the arrays in a GPU's memory.
    device_n
        Order of the matrices that a GPU multiplies.
    file_nbytes
        Of the files on disk, of all workers together.
    tasks
        Tasks that Dask is given, to see what one costs.
    folder
        Where the files are; a worker keeps none after the probe.
    """

    window_s: float = 0.25
    device_window_s: float = 0.5
    host_nbytes: int = 2**27
    host_n: int = 1024
    device_nbytes: int = 2**30
    device_n: int = 8192
    file_nbytes: int = 2**29
    tasks: int = 300
    folder: str = ""

    def within(self, host_nbytes: int, device_nbytes: int, workers: int) -> "Effort":
        """The effort of one of `workers`, on less data if it may take only `host_nbytes` and `device_nbytes`."""
        return replace(
            self,
            host_nbytes=min(self.host_nbytes, host_nbytes // HOST_ARRAYS // PAGE * PAGE),
            host_n=min(self.host_n, int((host_nbytes / GEMM_ITEM_NBYTES) ** 0.5)),
            file_nbytes=max(PAGE, self.file_nbytes // workers),
            device_nbytes=min(self.device_nbytes, device_nbytes // 4),
            device_n=min(self.device_n, int((device_nbytes / GEMM_ITEM_NBYTES) ** 0.5)),
        )


HOST_ARRAYS = 8
"""Arrays of `host_nbytes` that the greediest probe of host memory makes."""

GEMM_ITEM_NBYTES = 80
"""Bytes for each element of a matrix that the greediest product takes: operands as made, panels, sums, limbs."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A figure to measure.

    Attributes
    ----------
    name
        What it is, for people, and what its figure is known by.
    unit
        What is counted, as in ``"B"`` or ``"FLOP"``.
    prepared
        On a worker: makes what the step needs, for the length of the block.
    """

    name: str
    unit: str
    prepared: Callable[[Effort], AbstractContextManager[Step]]
