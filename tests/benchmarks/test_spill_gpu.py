"""The spill benchmark on CPUs, small: every work ends right, and its record says what spilled."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cases import environment

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "spill_gpu.py"

SMALL = "--device cpu --device-limit 8MiB --side 512 --repeats 1 --timeout 60"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_work_ends_right(tmp_path: Path) -> None:
    program = [sys.executable, str(BENCHMARK), *SMALL.split(), "--results", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = json.loads((tmp_path / "spill_cpu.json").read_text())["outcomes"]
    assert outcomes.keys() == {"pass", "transpose", "temporaries", "overhead"}
    assert not [one for found in outcomes.values() for one in found.values() if {"failed", "unended"} & one.keys()]
    for work in ("pass", "transpose", "temporaries"):
        ours = outcomes[work]["overspill"]
        assert ours["nbytes"] > ours["limit_nbytes"] * ours["workers"]
        assert sum(store["links"]["host_to_disk"]["nbytes"] for store in ours["store"]) > 0
        assert ours["gb_per_s"] > 0
    overhead = outcomes["overhead"]["overspill"]
    assert all(overhead[work]["ratio"] > 0 for work in ("passed", "multiplied"))
