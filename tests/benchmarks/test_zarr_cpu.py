"""The benchmark from store to store, small: every contender ends, right, and its record says so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cases import environment

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "zarr_cpu.py"


@pytest.mark.slow
def test_every_contender_ends_right(tmp_path: Path) -> None:
    small = ["--nbytes", "1MiB", "--chunk", "256KiB", "--repeats", "2"]
    places = ["--results", str(tmp_path), "--directory", str(tmp_path)]
    program = [sys.executable, str(BENCHMARK), *small, *places]
    done = subprocess.run(program, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    seconds = json.loads((tmp_path / "zarr_cpu.json").read_text())["seconds"]
    assert len(seconds) == 6
    for contenders in seconds.values():
        assert contenders.keys() == {"cp", "overspill", "stock dask"}
        assert all(len(times) == 2 for times in contenders.values())
    assert [entry.name for entry in tmp_path.iterdir()] == ["zarr_cpu.json"]
