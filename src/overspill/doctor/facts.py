"""What is looked at before anything is measured: memory, cores, limits, GPUs and packages of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass

IN_MEMORY = ("tmpfs", "ramfs")
"""File systems whose files lie in memory."""


@dataclass(frozen=True, slots=True)
class GPUFacts:
    """A GPU.

    Attributes
    ----------
    name, nbytes
        As the driver gives them.
    pcie_per_s
        Bytes per second that its slot carries in one direction on paper; None where nobody tells.
    ecc, mig
        Whether its memory corrects errors, and whether it is cut into instances; None where nobody tells.
    """

    name: str
    nbytes: int
    pcie_per_s: float | None = None
    ecc: bool | None = None
    mig: bool | None = None


@dataclass(frozen=True, slots=True)
class CUDAFacts:
    """What stands between this process and its GPUs.

    Attributes
    ----------
    present
        NVIDIA GPUs whose devices the system shows, usable or not.
    driver
        Version of the driver, empty where it does not tell.
    driver_cuda, runtime_cuda
        CUDA version that the driver knows at most, and the one that CuPy was built for, as 13000; 0 where unknown.
    gpus
        Those that CuPy can use.
    reach
        Row by row, whether a GPU can read another one's memory directly.
    missing
        CUDA libraries that CuPy cannot load, by name.
    error
        Why CuPy can use no GPU, if it cannot.
    """

    present: int = 0
    driver: str = ""
    driver_cuda: int = 0
    runtime_cuda: int = 0
    gpus: tuple[GPUFacts, ...] = ()
    reach: tuple[tuple[bool, ...], ...] = ()
    missing: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where results that do not fit in memory go.

    Attributes
    ----------
    path
        The folder.
    file_system
        Its kind, as the system names it; empty where unknown.
    free_nbytes
        Room in it.
    """

    path: str
    file_system: str
    free_nbytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A machine, as far as it concerns this library.

    Attributes
    ----------
    system
        Operating system and its release.
    processor
        Its name.
    cores, cores_present
        Cores that this process may run on, and those that the machine has.
    cores_worth
        As many cores' time as control groups allow; None for no limit.
    memory_nbytes, available_nbytes
        Memory of the machine, and what of it can still be had.
    memory_limit_nbytes
        What control groups allow; None for no limit.
    locked_nbytes
        Memory that a process may lock (``ulimit -l``); None for no limit.
    shm_nbytes
        Size of ``/dev/shm``; None where there is none.
    huge_pages, huge_shared_pages
        When the kernel makes huge pages, of a process's own and of shared memory; empty where it does not tell.
    shared_memory
        Whether chunks can be shared between processes as tiles.
    folder
        Where results are spilled to.
    cuda
        The GPUs and what they need.
    versions
        Installed packages.
    disagreements
        Which package asks for what, and the version of it that is there.
    """

    system: str
    processor: str
    cores: int
    cores_present: int
    cores_worth: float | None
    memory_nbytes: int
    available_nbytes: int
    memory_limit_nbytes: int | None
    locked_nbytes: int | None
    shm_nbytes: int | None
    huge_pages: str
    huge_shared_pages: str
    shared_memory: bool
    folder: Folder
    cuda: CUDAFacts
    versions: Mapping[str, str]
    disagreements: tuple[tuple[str, str, str], ...]

    @property
    def small_shared_pages(self) -> bool:
        """Whether tiles cannot be made of huge pages, though the kernel knows them."""
        return self.huge_shared_pages in ("never", "deny")
