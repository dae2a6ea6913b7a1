"""The command in a process of its own, with its own cluster, ended as terminals, batch systems and mishaps do it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cases import environment

MATMUL = Path(__file__).parents[2] / "workflows" / "matmul.py"

SLOW = """
import time
from dataclasses import dataclass
import dask.array as da
import overspill as osp

@dataclass(frozen=True)
class Params:
    n: int = 6

def slow(block):
    time.sleep(0.25)
    return block

def build(params):
    return {"x": da.ones((2, params.n), chunks=1).map_blocks(slow, dtype=float)}

def check(params, results):
    while (MARK := __import__("pathlib").Path("hold")).exists():
        (results["x"] + 1).sum().compute()
    return osp.Check((results["x"] == 1).all().compute(), "all are one")
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    (tmp_path / "two.yaml").write_text("LocalCluster:\n  n_workers: 2\n  dashboard_address: null\n")
    (tmp_path / "scratch").mkdir()
    return path


@contextlib.contextmanager
def command(directory: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    code = "from overspill.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env=environment(TMPDIR=str(directory / "scratch")),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_blocks(process: subprocess.Popen[str], run: Path, count: int = 1) -> None:
    while process.poll() is None and len(list(run.glob("*.zarr/.overspill/blocks-*/block-*"))) < count:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    assert process.poll() is None, process.communicate()


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    family = psutil.Process(process.pid).children(recursive=True)
    return [one for one in family if any("spawn_main" in argument for argument in one.cmdline())]


def status(run: Path) -> str:
    return json.loads((run / "manifest.json").read_text())["status"]  # type: ignore[no-any-return]


# Ctrl-C goes to the whole process group, the workers among it; what ends a batch job to the command alone.
@pytest.mark.parametrize(
    ("send", "number"),
    [
        (os.killpg, signal.SIGINT),
        pytest.param(os.kill, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(os.kill, signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_ended_then_resumed(flow: Path, send: object, number: signal.Signals) -> None:
    run = flow.parent / "run"
    with command(flow.parent, "run", flow, "--cluster", "two.yaml", "--out", run) as process:
        wait_for_blocks(process, run)
        send(process.pid, number)  # type: ignore[operator]
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("interrupted: ")
    assert errors.endswith(f"continue with: overspill resume {run}\n")
    assert errors.count("\n") == 1
    assert status(run) == "interrupted"
    assert list((flow.parent / "scratch").iterdir()) == []
    if number == signal.SIGINT:
        with command(flow.parent, "resume", run) as process:
            output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert "verified" in output


@pytest.mark.parametrize("during", [pytest.param("computing", marks=pytest.mark.slow), "check"])
def test_impatient(flow: Path, during: str) -> None:
    """The line that says how to go on comes at once, and more signals do not disturb the cluster's end."""
    run = flow.parent / "run"
    if during == "check":
        (flow.parent / "hold").touch()
    with command(flow.parent, "run", flow, "--cluster", "two.yaml", "--set", "n=2", "--out", run) as process:
        wait_for_blocks(process, run, count=1 if during == "computing" else 4)
        while during == "check" and not (run / "ledger.json").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr
        line = process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert line.endswith(f"continue with: overspill resume {run}\n")
    if during == "check":
        assert line.startswith("interrupted: 4 of 4 blocks are stored")
    assert list((flow.parent / "scratch").iterdir()) == []


def test_killed_worker_is_replaced(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (tmp_path / "scratch").mkdir()
    settings = ("--set", "n=3000", "--set", "memory=48MiB")
    with command(tmp_path, "run", MATMUL, *settings, "--out", run) as process:
        wait_for_blocks(process, run)
        workers(process)[0].kill()
        output, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    assert "verified" in output
    assert list((tmp_path / "scratch").iterdir()) == []
