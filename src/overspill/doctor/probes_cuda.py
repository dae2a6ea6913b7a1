"""How fast a worker's GPU is: its link to page-locked host memory, its own memory, its arithmetic."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import cupy
import numpy as np
from cupy.cuda import runtime

from overspill import memory
from overspill.doctor import products
from overspill.doctor.probe import Effort, Probe, Step
from overspill.errors import MemoryBudgetError
from overspill.kernels import fused_cuda
from overspill.kernels.tracing import Elements, trace
from overspill.memory.pinning import pin
from overspill.memory.tile import pool
from overspill.planning.operations import weigh
from overspill.units import format_nbytes

QUEUED = 8
"""Kernels or copies within the GPU that are queued before it is waited for."""

LOCKED_AT_MOST = 4
"""Fresh tiles that a worker page-locks for one figure: they are kept until it is taken."""

Way = Literal["up", "down"]


@contextmanager
def crossing(effort: Effort, *, ways: tuple[Way, ...]) -> Iterator[Step]:
    """Copies between page-locked tiles and the GPU, each way on a stream of its own; counts bytes of all ways."""
    nbytes = effort.host_nbytes
    lanes = [
        (way, _locked_tile(nbytes), cupy.empty(nbytes, np.uint8), cupy.cuda.Stream(non_blocking=True)) for way in ways
    ]

    def step() -> float:
        for _ in range(2):
            for way, host, device, stream in lanes:
                if way == "up":
                    runtime.memcpyAsync(
                        device.data.ptr, host.ctypes.data, nbytes, runtime.memcpyHostToDevice, stream.ptr
                    )
                else:
                    runtime.memcpyAsync(
                        host.ctypes.data, device.data.ptr, nbytes, runtime.memcpyDeviceToHost, stream.ptr
                    )
        for *_, stream in lanes:
            stream.synchronize()
        return 2.0 * nbytes * len(lanes)

    yield step


@contextmanager
def copying(effort: Effort) -> Iterator[Step]:
    """Copies within the GPU's memory; counts bytes read and written."""
    source, target = (cupy.zeros(effort.device_nbytes, np.uint8) for _ in range(2))

    def step() -> float:
        for _ in range(QUEUED):
            runtime.memcpyAsync(target.data.ptr, source.data.ptr, source.nbytes, runtime.memcpyDeviceToDevice, 0)
        runtime.streamSynchronize(0)
        return 2.0 * QUEUED * effort.device_nbytes

    yield step


@contextmanager
def computing(effort: Effort) -> Iterator[Step]:
    """``sin(x)**2 + cos(x)*x`` of float32 in one kernel; counts additions that it is weighed as."""
    size = effort.device_nbytes // 4
    x = cupy.linspace(0, 10, size, dtype=np.float32)
    expression = trace(lambda a: np.sin(a) ** 2 + np.cos(a) * a, (Elements(x.dtype),), {})
    weight = sum(weigh(function, "f", 4).cupy for function in ("sin", "square", "cos", "multiply", "add"))

    def step() -> float:
        for _ in range(QUEUED):
            fused_cuda.evaluate(expression, (x,))
        runtime.streamSynchronize(0)
        return float(QUEUED * weight * size)

    yield step


@contextmanager
def locking(effort: Effort) -> Iterator[Step]:
    """Making and page-locking of new tiles; counts their bytes."""
    pool().trim()  # or tiles of earlier probes would be handed out again, locked already
    made: list[Any] = []

    def step() -> float:
        if len(made) == LOCKED_AT_MOST:
            return 0
        made.append(_locked_tile(effort.host_nbytes))
        return float(effort.host_nbytes)

    yield step


PROBES = (
    *products.probes("cupy"),
    Probe("link, up", "B", partial(crossing, ways=("up",))),
    Probe("link, down", "B", partial(crossing, ways=("down",))),
    Probe("link, both ways at once", "B", partial(crossing, ways=("up", "down"))),
    Probe("device memory copy", "B", copying),
    Probe("fused elementwise", "additions", computing),
    Probe("page-locking of new tiles", "B", locking),
)


def _locked_tile(nbytes: int) -> Any:
    tile = memory.empty((nbytes,), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # which says the same
        locked = pin(tile)
    if not locked:
        raise MemoryBudgetError(f"the system does not let a process page-lock {format_nbytes(nbytes)}")
    return tile
