"""`overspill bench` finds the benchmarks of a checkout, and hands them all that is said after their name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cases import environment
from overspill import backend
from overspill.backend import GPU
from overspill.cli import bench as bench_module
from overspill.cli.main import cli
from overspill.errors import UsageError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory of benchmarks that is none of this package's source."""
    directory = tmp_path / "benchmarks"
    directory.mkdir()
    for name in ("record", "words_cpu", "words_gpu", "far_gpu"):
        (directory / f"{name}.py").touch()
    return tmp_path


def overspill(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["bench", *arguments])


def test_lists_what_there_is() -> None:
    told = overspill()
    assert told.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in told.stdout.splitlines())
    assert lines.keys() == {path.stem for path in BENCHMARKS.glob("*_[cg]pu.py")}
    assert "matmul_gpu" in lines and lines["matmul_cpu"].startswith("Float64 products")


@pytest.mark.parametrize(
    ("name", "gpus", "script"),
    [
        ("words", True, "words_gpu"),
        ("words", False, "words_cpu"),
        ("words_gpu", False, "words_gpu"),
        ("far", True, "far_gpu"),
    ],
)
def test_the_side_that_this_machine_has(checkout: Path, name: str, gpus: bool, script: str) -> None:
    assert bench_module.chosen(name, checkout / "benchmarks", gpus=gpus).stem == script


def test_what_cannot_be_run_is_named(checkout: Path) -> None:
    with pytest.raises(UsageError, match="'far' needs a GPU"):
        bench_module.chosen("far", checkout / "benchmarks", gpus=False)
    with pytest.raises(UsageError, match="no benchmark 'record': choose one of far, words"):
        bench_module.chosen("record", checkout / "benchmarks", gpus=False)
    told = overspill("nothing")
    assert told.exit_code == 2 and "no benchmark 'nothing'" in told.stderr and told.stderr.count("\n") == 1


@pytest.mark.parametrize("gpus", [(), (GPU("slide rule", 1),)])
def test_options_go_to_the_script(monkeypatch: pytest.MonkeyPatch, gpus: tuple[GPU, ...]) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(backend, "gpus", lambda: gpus)
    monkeypatch.setattr(os, "execv", lambda program, arguments: ran.append([program, *arguments]))
    assert overspill("matmul", "--n", "512", "--help", "-h").exit_code == 0
    script = BENCHMARKS / f"matmul_{'gpu' if gpus else 'cpu'}.py"
    assert ran == [[sys.executable, sys.executable, str(script), "--n", "512", "--help", "-h"]]


def test_installed_without_its_source(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: ran.append(arguments[1]))
    monkeypatch.setattr(bench_module, "__file__", str(checkout / "site-packages" / "overspill" / "cli" / "bench.py"))
    monkeypatch.chdir(checkout)
    assert overspill("words_cpu").exit_code == 0
    assert ran == [str(checkout / "benchmarks" / "words_cpu.py")]
    (checkout / "benchmarks" / "record.py").unlink()
    told = overspill("words_cpu")
    assert told.exit_code == 2 and "checkout of Overspill's source" in told.stderr and told.stderr.count("\n") == 1


def test_the_status_is_the_script_s(checkout: Path) -> None:
    (checkout / "benchmarks" / "words_cpu.py").write_text("import sys\nprint(*sys.argv[1:])\nsys.exit(7)\n")
    program = f"""
from overspill.cli import bench
from overspill.cli.main import cli
bench.__file__ = {str(checkout / "site-packages" / "overspill" / "cli" / "bench.py")!r}
cli(["bench", "words_cpu", "--loud", "3"])
"""
    arguments = [sys.executable, "-c", program]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=checkout, env=environment())
    assert (done.stdout, done.returncode) == ("--loud 3\n", 7), done.stderr
