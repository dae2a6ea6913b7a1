"""Looking at this machine: its facts from the system's own texts and from what is installed; measures nothing."""

import importlib.util
import os
import platform
import resource
import tempfile
from pathlib import Path
from typing import Literal

import dask
import psutil

from overspill import machine
from overspill.doctor import packages
from overspill.doctor.facts import CUDAFacts, Facts, Folder
from overspill.doctor.groups import cores_worth, memory_limit_nbytes
from overspill.errors import UsageError
from overspill.memory import segment


def look(folder: Path) -> Facts:
    """The facts of this machine; results are spilled to `folder`.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    versions = packages.installed()
    memberships = _text("/proc/self/cgroup")
    return Facts(
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        processor=machine.processor(),
        cores=machine.cpu_count(),
        cores_present=os.cpu_count() or 1,
        cores_worth=cores_worth(memberships),
        memory_nbytes=int(psutil.virtual_memory().total),
        available_nbytes=machine.available_nbytes(),
        memory_limit_nbytes=memory_limit_nbytes(memberships),
        locked_nbytes=limited(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]),
        shm_nbytes=psutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else None,
        huge_pages=huge_pages("enabled"),
        huge_shared_pages=huge_pages("shmem_enabled"),
        shared_memory=segment.supported(),
        folder=_folder(folder),
        cuda=_cuda(),
        versions=versions,
        disagreements=tuple(packages.disagreements(packages.requirements(versions), versions)),
    )


def spill_folder() -> Path:
    """Where a cluster spills to unless told otherwise."""
    return Path(dask.config.get("temporary-directory", None) or tempfile.gettempdir())


def limited(soft: int) -> int | None:
    """A limit of `resource.getrlimit`; None for none."""
    return None if soft == resource.RLIM_INFINITY else soft


def huge_pages(setting: Literal["enabled", "shmem_enabled"]) -> str:
    """When the kernel makes them, of a process's own memory or of shared memory; empty where it does not tell."""
    return chosen(_text(f"/sys/kernel/mm/transparent_hugepage/{setting}"))


def chosen(text: str) -> str:
    """The choice that a kernel's file marks.

    Examples
    --------
    >>> chosen("always [madvise] never")
    'madvise'
    """
    return text.partition("[")[2].partition("]")[0]


def file_system_of(path: str, mounts: str) -> str:
    r"""Kind of the file system that holds `path`, from the text of ``/proc/self/mounts``; empty where unknown.

    Examples
    --------
    >>> file_system_of("/dev/shm/x", "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0")
    'tmpfs'
    """
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        # A later mount hides an earlier one of the same place; blanks are written as \\040.
        point = point.replace("\\040", " ")
        if Path(path).is_relative_to(point) and len(point) >= longest:
            kind, longest = found, len(point)
    return kind


def file_system(folder: str) -> str:
    """Kind of the file system that `folder` is in; empty where unknown."""
    return file_system_of(os.path.realpath(folder), _text("/proc/self/mounts"))


def _folder(folder: Path) -> Folder:
    try:
        free_nbytes = int(psutil.disk_usage(str(folder)).free)
    except OSError as error:
        raise UsageError(f"{folder} cannot be used ({error.strerror}): name another folder with --folder") from None
    return Folder(str(folder), file_system(str(folder)), free_nbytes)


def _cuda() -> CUDAFacts:
    if importlib.util.find_spec("cupy") is None:
        return CUDAFacts(present=present(), driver=machine.driver())
    try:
        from overspill.doctor import gpus
    except ImportError as error:
        return CUDAFacts(present=present(), driver=machine.driver(), error=str(error))
    return gpus.look(present())


def present() -> int:
    """NVIDIA GPUs that the system shows as devices."""
    return sum(1 for entry in Path("/dev").glob("nvidia[0-9]*") if entry.name.removeprefix("nvidia").isdigit())


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
