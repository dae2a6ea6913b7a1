"""The pipeline of GPUs where there is none, on a stand-in for CuPy whose streams work behind each other's back."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

ON_A_STAND_IN = "stream/test_slots.py", "stream/test_upload.py", "benchmarks/test_gemm_blocks_gpu.py"


def test_tasks_that_share_buffers_wait_for_each_other() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "stream.cupy_stand_in", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, *(str(TESTS / name) for name in ON_A_STAND_IN)],
        cwd=TESTS.parent,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout, run.stdout
