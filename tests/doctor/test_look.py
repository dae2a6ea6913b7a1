"""Looking at a machine: the system's texts as they come, and this machine for real."""

import os
import resource
from pathlib import Path

import psutil
import pytest

from overspill import machine
from overspill.doctor import look, packages
from overspill.errors import UsageError

MOUNTS = r"""overlay / overlay rw,relatime,lowerdir=/var 0 0
proc /proc proc rw,nosuid 0 0
tmpfs /dev/shm tmpfs rw,size=65536k 0 0
/dev/nvme0n1p1 /data ext4 rw 0 0
server:/export /data/my\040share nfs4 rw 0 0
none /data/over ext4 rw 0 0
none /data/over xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp", "overlay"),
        ("/dev/shm", "tmpfs"),
        ("/dev/shmem", "overlay"),
        ("/data/x", "ext4"),
        ("/data/my share/y", "nfs4"),
        ("/data/over", "xfs"),
    ],
)
def test_file_systems(path: str, kind: str) -> None:
    assert look.file_system_of(path, MOUNTS) == kind


def test_a_system_that_does_not_tell() -> None:
    assert look.file_system_of("/tmp", "") == ""
    assert look.chosen("") == ""


@pytest.mark.parametrize("choice", ["always", "madvise", "never"])
def test_choices_of_the_kernel(choice: str) -> None:
    assert look.chosen("always madvise never\n".replace(choice, f"[{choice}]")) == choice


def test_limits() -> None:
    assert look.limited(8 * 2**20) == 8 * 2**20
    assert look.limited(resource.RLIM_INFINITY) is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC", "535.183.01"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (u@h)", "580.95.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  570.86  Release Build\n", "570.86"),
        ("", ""),
        ("GCC version:  gcc version 13.2.0 (Ubuntu)", ""),
    ],
)
def test_drivers(text: str, version: str) -> None:
    assert machine.driver_in(text) == version


@pytest.mark.parametrize(
    ("wanted", "there", "found"),
    [
        ("dask<2026.7.2,>=2026.7.1", {"dask": "2026.7.1"}, []),
        ("dask<2026.7.2,>=2026.7.1", {"dask": "2026.8.0"}, [("p", "dask<2026.7.2,>=2026.7.1", "2026.8.0")]),
        ("Dask[array]>=2026.9", {"dask": "2026.8.0"}, [("p", "Dask>=2026.9", "2026.8.0")]),
        ("dask>=2026.9", {}, []),
        ("dask>=2026.9; extra == 'all'", {"dask": "2026.8.0"}, []),
        ("dask>=2026.9; python_version < '3'", {"dask": "2026.8.0"}, []),
        ("rmm_cu12==26.10.*", {"rmm-cu12": "26.10.1"}, []),
        ("rmm_cu12==26.10.*", {"rmm-cu12": "26.12.0a1"}, [("p", "rmm_cu12==26.10.*", "26.12.0a1")]),
        ("no requirement at all", {"dask": "2026.8.0"}, []),
    ],
)
def test_pins(wanted: str, there: dict[str, str], found: list[tuple[str, str, str]]) -> None:
    assert list(packages.disagreements({"p": [wanted]}, there)) == found


def test_this_machine(tmp_path: Path) -> None:
    facts = look.look(tmp_path)
    assert facts.processor
    assert 1 <= facts.cores <= facts.cores_present == os.cpu_count()
    assert facts.memory_nbytes == psutil.virtual_memory().total
    assert 0 < facts.available_nbytes <= facts.memory_nbytes
    assert facts.folder.path == str(tmp_path)
    assert facts.folder.file_system
    assert {"overspill", "dask", "numpy"} <= set(facts.versions)
    assert len(facts.cuda.gpus) == len(facts.cuda.reach)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone cannot be used .*--folder"):
        look.look(tmp_path / "gone")


@pytest.mark.gpu
def test_gpus_of_this_machine() -> None:
    from overspill.doctor import gpus

    cuda = gpus.look(look.present())
    assert cuda.error == ""
    assert cuda.missing == ()
    assert cuda.driver_cuda // 1000 >= cuda.runtime_cuda // 1000 >= 12
    assert all(gpu.nbytes > 2**30 for gpu in cuda.gpus)
    assert all(row[index] for index, row in enumerate(cuda.reach))
