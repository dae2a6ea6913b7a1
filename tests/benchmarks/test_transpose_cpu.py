"""The benchmark of transposes and rechunks, small: every contender ends right."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cases import environment

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "transpose_cpu.py"


@pytest.mark.slow
def test_every_contender_ends_right(tmp_path: Path) -> None:
    small = ["--n", "900", "--sides", "300", "--repeats", "2", "--results", str(tmp_path)]
    done = subprocess.run([sys.executable, str(BENCHMARK), *small], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    seconds = json.loads((tmp_path / "transpose_cpu.json").read_text())["seconds"]
    assert {work: len(contenders) for work, contenders in seconds.items()} == {"x + x.T": 4, "rows to columns": 3}
    assert all(len(times) == 2 for contenders in seconds.values() for times in contenders.values())
