"""The command in a process of its own, with its own cluster, interrupted as a terminal does it."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

MATMUL = Path(__file__).parents[2] / "workflows" / "matmul.py"


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    code = "from overspill.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_interrupted_then_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = command("run", MATMUL, "--set", "n=3000", "--set", "memory=48MiB", "--out", run)
    while process.poll() is None and not list(run.glob("C.zarr/c/*/*")):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    # Ctrl-C goes to the whole process group, the workers among it.
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith(f"continue with: overspill resume {run}")
    assert errors.count("\n") == 1
    process = command("resume", run)
    output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    assert "verified" in output
