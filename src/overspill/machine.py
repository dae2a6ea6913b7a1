"""What this host has, and how fast its parts are: by its profile, or as assumed until `overspill doctor` measures them.

The built-in figures are conservative: an H200's are 9/10 of what one server measured with all its GPUs busy
(54 TFLOP/s float64 and float32, 52 GB/s up and 40 GB/s down per GPU, 4250 GB/s of its own memory); other GPUs get a
PCIe 4 × 16 card's. A core's are those of arrays just made: their pages are touched for the first time as they are
written.
"""

import contextlib
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

from overspill import backend, profile
from overspill.planning.resources import Rates, Resources, active

HOST_FRACTION = 0.5
"""Share of the host's available memory that tiles may take unless told otherwise."""

DEVICE_FRACTION = 0.8
"""Share of a GPU's memory that streams may take unless told otherwise."""


def cpu_count() -> int:
    """Cores this process may run on, which container limits and `taskset` make fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor() -> str:
    """Name of the processor."""
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        described = ""
    found = re.search(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", described, re.M)
    return found[1].strip() if found else platform.processor() or platform.machine()


@cache
def driver() -> str:
    """Version of the NVIDIA driver; empty where it does not tell."""
    try:
        return driver_in(Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return ""


def driver_in(text: str) -> str:
    """The version that the driver gives of itself in ``/proc``.

    Examples
    --------
    >>> driver_in("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder@host)")
    '580.95.05'
    """
    found = re.search(r"^NVRM version:.*?\s(\d+\.[\d.]+)\s", text, re.M)
    return found[1] if found else ""


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def this_machine(*, gpus: bool) -> profile.Machine:
    """What tells this machine's profile from another's; `gpus` says whether its GPUs matter."""
    names = tuple(gpu.name for gpu in backend.gpus()) if gpus else ()
    return profile.Machine(processor(), cpu_count(), names, driver() if names else "")


CGROUPS = Path("/sys/fs/cgroup")


def available_nbytes() -> int:
    """Host memory still to be had, in bytes, within the limits of the control groups that this process is in."""
    return max(0, min([int(psutil.virtual_memory().available), *_left_in_groups()]))


def _left_in_groups() -> Iterator[int]:
    """What each control group from this process's own up to the root leaves, file pages counted as free."""
    try:
        name = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
    except OSError:
        return
    for group in (CGROUPS / name, *(CGROUPS / name).parents):
        try:
            limit, used = (int((group / f"memory.{what}").read_text()) for what in ("max", "current"))
            counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            yield limit - used + int(counts["inactive_file"])
        except (OSError, ValueError, KeyError):
            continue  # no limit here, or not a control group any more


def cpu_rates() -> Rates:
    """Built-in figures for one core, from the vector instructions that the processor names."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    flop_per_cycle = 32 if "avx512f" in flags else 16 if "avx2" in flags else 8
    double = flop_per_cycle * 2.0e9
    return Rates(
        gemm_flop_per_s=_by_dtype(double, single=2 * double, half=1.5 * double),
        upload_per_s=5e9,
        download_per_s=5e9,
        both_ways_per_s=5e9,
        disk_per_s=0.5e9,
        recompute_per_s=0.4e9,
        memory_per_s=8e9,
        elementwise_per_s=4e9 if "avx512f" in flags else 2e9,
        task_s=2e-3,
        source="built-in figures for a CPU core",
    )


def cuda_rates() -> Rates:
    """Built-in figures for this machine's first GPU, by its name."""
    name = backend.gpus()[0].name
    hopper = is_known(name)
    return Rates(
        gemm_flop_per_s=_by_dtype(49e12, single=49e12, half=600e12) if hopper else _by_dtype(7e12, 14e12, 50e12),
        upload_per_s=47e9 if hopper else 20e9,
        download_per_s=36e9 if hopper else 20e9,
        both_ways_per_s=50e9 if hopper else 25e9,
        disk_per_s=0.5e9,
        recompute_per_s=0.4e9,
        memory_per_s=3800e9 if hopper else 400e9,
        elementwise_per_s=14e12 if hopper else 3e12,
        task_s=5e-3,
        source=f"built-in figures for {name}" if hopper else f"built-in figures ({name} is not among those measured)",
    )


def is_known(name: str) -> bool:
    """Whether the built-in figures of the GPU `name` come from one of its kind."""
    return "H200" in name or "H100" in name


def known_products() -> Mapping[str, float]:
    """What this machine's GPUs multiply, operations per second by element type, if it is known of their kind."""
    return cuda_rates().gemm_flop_per_s if all(is_known(gpu.name) for gpu in backend.gpus()) else {}


def _by_dtype(double: float, single: float, half: float) -> dict[str, float]:
    # An integer product is made of one to ten exact float64 products of limbs; three is a middle.
    return {
        "float16": half,
        "float32": single,
        "float64": double,
        "complex64": single,
        "complex128": double,
        "integer": double / 3,
    }


def resources(
    device: Literal["cpu", "cuda"],
    workers: int,
    threads: int,
    *,
    pool_nbytes: int | None = None,
    device_budget_nbytes: int | None = None,
) -> Resources:
    """What `workers` processes of `threads` tasks each may use on this host, budgets filled in where not given."""
    if pool_nbytes is None:
        pool_nbytes = int(HOST_FRACTION * available_nbytes())
    if device_budget_nbytes is None:
        device_budget_nbytes = (
            int(DEVICE_FRACTION * min(gpu.nbytes for gpu in backend.gpus())) if device == "cuda" else 0
        )
    host_rates = profile.rates("cpu", cpu_rates(), this_machine(gpus=False), workers, threads)
    rates = host_rates
    if device == "cuda":
        rates = profile.rates("cuda", cuda_rates(), this_machine(gpus=True), workers, threads)
    return Resources(device, workers, threads, device_budget_nbytes, pool_nbytes, rates, host_rates)


def current_resources() -> Resources:
    """The active cluster's resources, or those of Dask's threaded scheduler in this process."""
    return active() or resources("cpu", workers=1, threads=cpu_count())
