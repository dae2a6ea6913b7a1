"""The benchmark of sparse products, on few entries: every contender ends, and agrees with SciPy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cases import environment

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "sparse_cpu.py"


@pytest.mark.slow
def test_every_contender_ends_right(tmp_path: Path) -> None:
    small = ["--nnz", "100000", "--repeats", "2", "--results", str(tmp_path)]
    done = subprocess.run([sys.executable, str(BENCHMARK), *small], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    outcomes = json.loads((tmp_path / "sparse_cpu.json").read_text())["outcomes"]
    assert outcomes.keys() == {"poisson", "random", "power-law"}
    for outcome in outcomes.values():
        assert outcome["seconds"].keys() == {"scipy", "stock dask", "overspill A @ x", "overspill resident"}
        assert all(len(times) == 2 and min(times) > 0 for times in outcome["seconds"].values())
