import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import environment
from memory.store.kit import assert_same
from overspill.errors import MemoryBudgetError
from overspill.memory import is_tile
from overspill.memory.segment import PAGE
from overspill.memory.store import disk
from overspill.memory.store.disk import Disk
from overspill.memory.store.meter import Meter
from overspill.memory.store.packing import pack, unpack

VALUE = {"x": np.arange(100_000), "y": ["text", np.arange(3)], "z": np.arange(99_999, dtype="i2")}


@pytest.fixture
def files(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "worker", Meter())


def names(files: Disk) -> list[str]:
    return sorted(path.name for path in files.directory.iterdir())


def test_what_is_written_can_be_read_into_tiles(files: Disk) -> None:
    file = files.write(pack(VALUE, None))
    assert file.nbytes == file.path.stat().st_size
    packed = files.read(file)
    assert all(is_tile(frame) for frame in packed.frames)
    assert_same(unpack(packed, None), VALUE)


def test_frames_begin_at_pages(files: Disk) -> None:
    file = files.write(pack(VALUE["x"], None))
    assert np.fromfile(file.path, "i8", offset=PAGE).tolist() == list(range(100_000))


def test_files_have_names_of_their_own_and_go(files: Disk) -> None:
    written = [files.write(pack(number, None)) for number in range(3)]
    assert len(set(written)) == 3
    assert [unpack(files.read(file), None) for file in written] == [0, 1, 2]
    files.remove(written[1])
    assert len(names(files)) == 2
    files.clear()
    assert not files.directory.exists()


def test_bytes_and_seconds_are_counted(tmp_path: Path) -> None:
    meter = Meter()
    files = Disk(tmp_path, meter)
    file = files.write(pack(VALUE, None))
    files.read(file)
    links = meter.links()
    assert links["host_to_disk"]["nbytes"] == links["disk_to_host"]["nbytes"] == file.nbytes
    assert links["host_to_disk"]["seconds"] > 0
    assert links["disk_to_host"]["seconds"] > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("step", ["mkdir", "posix_fallocate", "_write"])
def test_a_full_disk_is_an_error_with_directory_and_sizes(
    files: Disk, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def full(*arguments: Any, **keywords: Any) -> Any:
        raise OSError(number, "full")

    files.directory.parent.mkdir()
    target = {"mkdir": (Path, "mkdir"), "posix_fallocate": (os, "posix_fallocate"), "_write": (disk, "_write")}[step]
    monkeypatch.setattr(*target, full)
    with pytest.raises(
        MemoryBudgetError, match=r"worker/spilled has no room for .*KiB more \(.* free\): raise memory="
    ):
        files.write(pack(VALUE, None))
    assert not files.directory.exists() or names(files) == []


def test_another_error_stays_what_it_is_and_leaves_nothing(files: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(disk, "_write", broken)
    with pytest.raises(OSError, match="broken"):
        files.write(pack(VALUE, None))
    assert names(files) == []


def test_a_file_that_ends_too_early_is_an_error(files: Disk) -> None:
    file = files.write(pack(VALUE["x"], None))
    os.truncate(file.path, file.nbytes - 10)
    with pytest.raises(OSError, match="10 bytes too early"):
        files.read(file)


LIMITED = """
import sys, resource
import numpy as np
from overspill.memory.store.disk import Disk
from overspill.memory.store.meter import Meter
from overspill.memory.store.packing import pack, unpack
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
files = Disk(sys.argv[1], Meter())
small = files.write(pack(np.arange(20_000), None))
try:
    files.write(pack(np.arange(40_000), None))
except OSError as error:
    print(error.strerror)
print(unpack(files.read(small), None).sum(), [path.name for path in files.directory.iterdir()] == [small.path.name])
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits on file sizes")
def test_a_real_refusal_of_the_system(tmp_path: Path) -> None:
    """The kernel refuses bytes past a limit; what was there can still be read, and nothing half-written is left."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["File too large", "199990000 True"], done.stderr
