"""Scratch directories: gone with their owner, and nobody else's touched."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cases import environment
from overspill.cluster.scratch import scratch

OWNER = """
import sys
from overspill.cluster.scratch import scratch
with scratch(sys.argv[1]) as directory:
    print(directory, flush=True)
    sys.stdin.read()
"""


def owner(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    """Another process with a scratch directory in `parent`."""
    running = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert running.stdout is not None
    return running, Path(running.stdout.readline().strip())


def test_it_ends_with_the_block(tmp_path: Path) -> None:
    with scratch(tmp_path) as directory:
        (Path(directory) / "below").mkdir()
        assert list(tmp_path.iterdir()) == [Path(directory)]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_start(tmp_path: Path) -> None:
    running, left = owner(tmp_path)
    with running:
        (left / "dask-scratch-space").mkdir()
        with scratch(tmp_path):
            assert left.is_dir()
        running.send_signal(signal.SIGKILL)
    assert left.is_dir()
    with scratch(tmp_path) as directory:
        assert list(tmp_path.iterdir()) == [Path(directory)]


def test_two_of_one_process(tmp_path: Path) -> None:
    with scratch(tmp_path) as first, scratch(tmp_path) as second:
        assert set(tmp_path.iterdir()) == {Path(first), Path(second)}


def test_directories_of_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "overspill-data").mkdir()
    running, left = owner(tmp_path)
    with running:
        running.send_signal(signal.SIGKILL)
    (tmp_path / "elsewhere").mkdir()
    left.rename(tmp_path / "elsewhere" / "overspill-kept")
    (tmp_path / "overspill-link").symlink_to(tmp_path / "elsewhere" / "overspill-kept")
    with scratch(tmp_path):
        pass
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with scratch(tmp_path / "elsewhere"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "overspill-data", "overspill-link"]
    assert (tmp_path / "elsewhere" / "overspill-kept").is_dir()
