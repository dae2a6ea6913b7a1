"""What to mend, from what this machine is: one line each, with the value, the limit and the way out."""

import re
from collections.abc import Iterator

from overspill.doctor.facts import IN_MEMORY, CUDAFacts, Facts
from overspill.units import format_nbytes

SHM_NBYTES = 2**30
"""Of ``/dev/shm``, which NCCL and UCX take a part of for each pair of GPUs; containers have 64 MiB unless told."""

SPILL_FRACTION = 0.1
"""Of the machine's memory, what should be free on disk at least."""

FREE_FRACTION = 0.1
"""Of the memory that may be used, what should be free: with less, measuring has arrays too small to tell much."""

COMPANIONS = {
    "numba-cuda": "Dask sends CuPy chunks with it",
    "rmm": "dask-cuda makes what rmm_pool_size= and its kin ask for with it",
    "distributed-ucxx": "it carries chunks from GPU to GPU",
    "nvidia-nccl": "solvers on several GPUs exchange vectors with it",
}
"""What should be installed beside several GPUs, under these names or with the CUDA version behind them, and why."""

CUDA_13_DRIVER = 580
"""First version of the driver that knows CUDA 13."""


def of_facts(facts: Facts) -> Iterator[str]:
    """What to mend of the machine as it is, measured or not."""
    if not facts.shared_memory:
        yield "processes cannot share memory on this system, which has no memfd_create: use Linux, or chunks are copied"
    if facts.cores_worth is not None and facts.cores_worth < 0.95 * facts.cores:
        workers = max(1, int(facts.cores_worth))
        yield (
            f"control groups allow the time of {facts.cores_worth:.3g} cores, of {facts.cores} that may be used: start "
            f"clusters with n_workers={workers}, or raise the quota (docker run --cpus={facts.cores})"
        )
    memory_nbytes = min(facts.memory_nbytes, facts.memory_limit_nbytes or facts.memory_nbytes)
    if facts.available_nbytes < FREE_FRACTION * memory_nbytes:
        yield (
            f"{format_nbytes(facts.available_nbytes)} of {format_nbytes(memory_nbytes)} of memory is free, too little "
            f"to measure what plans will count on: end what fills it, and run this again"
        )
    yield from _of_folder(facts)
    for name, wanted, there in facts.disagreements:
        yield f"{name} asks for {wanted}, but {there} is installed: pip install '{wanted}'"
    yield from _of_gpus(facts)


def _of_folder(facts: Facts) -> Iterator[str]:
    folder = facts.folder
    if folder.file_system in IN_MEMORY:
        yield (
            f"{folder.path} lies in memory ({folder.file_system}), so that spilling there frees none: set Dask's "
            f"temporary-directory, or local_directory=, to a folder on a disk"
        )
    elif folder.free_nbytes < SPILL_FRACTION * facts.memory_nbytes:
        yield (
            f"{folder.path} has {format_nbytes(folder.free_nbytes)} free, little beside "
            f"{format_nbytes(facts.memory_nbytes)} of memory: make room, or set Dask's temporary-directory to another "
            f"folder"
        )


def _of_gpus(facts: Facts) -> Iterator[str]:
    cuda, extra = facts.cuda, _extra(facts.cuda)
    cupys = sorted(name for name in facts.versions if re.fullmatch(r"cupy(-cuda\d+x)?", name))
    if len(cupys) > 1:
        yield f"{' and '.join(cupys)} overwrite each other: pip uninstall {' '.join(cupys)}; pip install '{extra}'"
    if not cuda.gpus:
        yield from _of_unusable(cuda, extra, cupy_is_there=bool(cupys))
        return
    if cuda.missing:
        yield (
            f"CuPy cannot load {', '.join(cuda.missing)}, which its package does not bring: "
            f"pip install 'cupy-cuda{cuda.runtime_cuda // 1000}x[ctk]'"
        )
    if "dask-cuda" not in facts.versions:
        yield f"{_count(cuda)} here, but dask-cuda, which starts their workers, is not installed: pip install '{extra}'"
    if len(cuda.gpus) > 1:
        yield from _of_several(facts, extra)


def _of_unusable(cuda: CUDAFacts, extra: str, *, cupy_is_there: bool) -> Iterator[str]:
    if not cuda.present:
        return
    if not cupy_is_there:
        yield f"{_count(cuda)} here, but CuPy is not installed: pip install '{extra}'"
    elif 0 < cuda.driver_cuda // 1000 < cuda.runtime_cuda // 1000:
        yield (
            f"the driver {cuda.driver} knows CUDA {version(cuda.driver_cuda)} at most, CuPy is made for "
            f"{version(cuda.runtime_cuda)}: install a newer driver, or pip install '{extra}' instead"
        )
    else:
        yield (
            f"{_count(cuda)} here, but CuPy can use none ({cuda.error or 'no reason given'}): see whether nvidia-smi "
            f"shows them, and whether CUDA_VISIBLE_DEVICES hides them"
        )


def lacking(facts: Facts) -> list[str]:
    """What is not installed of that which should be beside several GPUs."""
    return [
        name
        for name in COMPANIONS
        if not any(there == name or there.startswith(f"{name}-cu") for there in facts.versions)
    ]


def _of_several(facts: Facts, extra: str) -> Iterator[str]:
    cuda = facts.cuda
    for name in lacking(facts):
        yield f"{name} is not installed, {COMPANIONS[name]}: pip install '{extra}'"
    if facts.shm_nbytes is not None and facts.shm_nbytes < SHM_NBYTES:
        yield (
            f"/dev/shm is {format_nbytes(facts.shm_nbytes)}, too small for NCCL and UCX between {_count(cuda)}: give "
            f"the container {format_nbytes(SHM_NBYTES)} (docker run --shm-size=1g) or more"
        )
    if facts.small_shared_pages:
        yield (
            f"the kernel makes shared memory of small pages only (shmem_enabled is {facts.huge_shared_pages}), so that "
            f"workers take several times as long to lock each other's tiles for their GPUs: as root, echo advise > "
            f"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
        )
    apart = [f"{i} and {j}" for i, row in enumerate(cuda.reach) for j, there in enumerate(row) if i < j and not there]
    if apart:
        yield (
            f"GPUs {', '.join(apart)} cannot read each other's memory, so that copies between them go through the "
            f"host: let the system's IOMMU and ACS permit it, if the cards can (nvidia-smi topo -p2p r)"
        )


def _extra(cuda: CUDAFacts) -> str:
    """What to install for a GPU, as far as the driver knows CUDA."""
    newest = cuda.driver_cuda >= 13000 or int(cuda.driver.partition(".")[0] or 0) >= CUDA_13_DRIVER
    return "overspill[gpu-cuda13]" if newest else "overspill[gpu]"


def _count(cuda: CUDAFacts) -> str:
    count = len(cuda.gpus) or cuda.present
    return "a GPU is" if count == 1 else f"{count} GPUs are"


def version(cuda: int) -> str:
    """CUDA's version as people write it.

    Examples
    --------
    >>> version(12090)
    '12.9'
    """
    return f"{cuda // 1000}.{cuda % 1000 // 10}"
