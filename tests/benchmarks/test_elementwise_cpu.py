"""The benchmark of elementwise expressions, on few elements: every contender ends, and agrees with the others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cases import environment

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "elementwise_cpu.py"


@pytest.mark.slow
def test_every_contender_ends_right(tmp_path: Path) -> None:
    small = ["--nbytes", "1MiB", "--chunk", "256KiB", "--repeats", "2", "--results", str(tmp_path)]
    done = subprocess.run([sys.executable, str(BENCHMARK), *small], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "elementwise_cpu.json").read_text())
    seconds = figures["seconds"]
    assert len(seconds) == 6
    for contenders in seconds.values():
        assert {"stock dask", "overspill"} <= contenders.keys()
        assert all(len(times) == 2 for times in contenders.values())
    for peak in figures["peak_nbytes"].values():
        assert 0 < peak["measured"] <= peak["planned"]
