"""Memory limits, from the cluster classes' own ways of writing them to the budgets that plans are drawn against."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import psutil

from overspill import backend, machine
from overspill.errors import ClusterError, UsageError
from overspill.planning.resources import Resources
from overspill.units import parse_nbytes

_UNLIMITED = (None, "auto", "default", 0, "0")


def budgets(
    device: Literal["cpu", "cuda"],
    workers: int,
    threads: int,
    keywords: Mapping[str, Any],
    *,
    memory: str | int | None,
    device_memory: str | int | None,
) -> Resources:
    """The resources of `workers` processes of `threads` threads each, on this machine.

    `memory` is for all workers together and counts before ``memory_limit``, which is one worker's; `device_memory`
    counts before ``device_memory_limit``, both of them one GPU's. What none of them limits gets the machine's default
    share.
    """
    if memory is not None:
        pool_nbytes: int | None = parse_nbytes(memory)
    else:
        per_worker = _limit_nbytes(keywords, "memory_limit", lambda: int(psutil.virtual_memory().total))
        pool_nbytes = None if per_worker is None else per_worker * workers
    device_nbytes = None
    if device == "cuda":
        if device_memory is not None:
            device_nbytes = parse_nbytes(device_memory)
        else:
            device_nbytes = _limit_nbytes(keywords, "device_memory_limit", smallest_gpu_nbytes)
    return machine.resources(device, workers, threads, pool_nbytes=pool_nbytes, device_budget_nbytes=device_nbytes)


def smallest_gpu_nbytes() -> int:
    """Memory of the smallest GPU of this machine, in bytes."""
    return min(gpu.nbytes for gpu in backend.gpus())


def _limit_nbytes(keywords: Mapping[str, Any], name: str, total_nbytes: Callable[[], int]) -> int | None:
    """A limit as Dask writes them: bytes, text with a unit, or a share of the whole up to 1; None for no limit."""
    value: Any = keywords.get(name)
    if value in _UNLIMITED:
        return None
    try:
        share = float(value)
    except (ValueError, TypeError):
        share = math.inf
    if 0 < share <= 1:
        return int(share * total_nbytes())
    try:
        return parse_nbytes(value)
    except UsageError as error:
        raise ClusterError(f"{name}={error}") from None
