"""Machines as `overspill doctor` may find them: a server of four GPUs in order, and others; and little to measure."""

from dataclasses import replace
from typing import Any

from overspill.doctor.facts import CUDAFacts, Facts, Folder, GPUFacts
from overspill.doctor.probe import Effort

GIB = 2**30

H200 = GPUFacts("NVIDIA H200", 141 * GIB, pcie_per_s=63e9, ecc=True, mig=False)

CUDA = CUDAFacts(
    present=4,
    driver="580.95.05",
    driver_cuda=13000,
    runtime_cuda=13000,
    gpus=(H200,) * 4,
    reach=((True,) * 4,) * 4,
)

SERVER = Facts(
    system="Linux 6.8.0, Python 3.12.3",
    processor="AMD EPYC 9554",
    cores=64,
    cores_present=64,
    cores_worth=None,
    memory_nbytes=512 * GIB,
    available_nbytes=500 * GIB,
    memory_limit_nbytes=None,
    locked_nbytes=8 * 2**20,
    shm_nbytes=256 * GIB,
    huge_pages="madvise",
    huge_shared_pages="advise",
    shared_memory=True,
    folder=Folder("/scratch", "xfs", 2000 * GIB),
    cuda=CUDA,
    versions={
        "overspill": "0.1.0",
        "cupy-cuda13x": "14.2.0",
        "dask-cuda": "26.10.0",
        "distributed-ucxx-cu13": "0.52.0",
        "numba-cuda": "0.22.0",
        "nvidia-nccl-cu13": "2.28.0",
        "rmm-cu13": "26.10.0",
    },
    disagreements=(),
)


SMALL = Effort(
    window_s=0.002,
    device_window_s=0.002,
    host_nbytes=2**18,
    host_n=96,
    device_nbytes=2**20,
    device_n=96,
    file_nbytes=2**16,
    tasks=20,
)
"""Little to measure, in no time."""


def server(*, without: tuple[str, ...] = (), cuda: dict[str, Any] | None = None, **changes: Any) -> Facts:
    """The server with other facts, without some packages, and with other facts of its GPUs."""
    versions = {name: number for name, number in SERVER.versions.items() if name not in without}
    versions |= changes.pop("versions", {})
    return replace(SERVER, versions=versions, cuda=replace(CUDA, **(cuda or {})), **changes)
