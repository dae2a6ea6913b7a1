"""Exit statuses, and one line on standard error for whatever a person can mend."""

import contextlib
import json
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import dask.cli as dask_cli
import pytest
from click.testing import CliRunner, Result

from overspill import backend
from overspill.cli.main import cli
from overspill.cli.status import exit_status, sentence
from overspill.cluster import Cluster
from overspill.errors import ClusterError, MemoryBudgetError, StoreExistsError, UsageError, WorkflowError
from overspill.runs import ground, session
from overspill.runs.compute import Stopped

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

SOURCE = """
from dataclasses import dataclass
from typing import Literal
import dask.array as da
import overspill as osp

@dataclass(frozen=True)
class Params:
    n: int = 100
    kind: Literal["right", "wrong", "malformed"] = "right"
    memory: osp.Nbytes | None = None

def build(params):
    if params.kind == "malformed":
        raise osp.WorkflowError("line 3 is no edge")
    a = da.random.default_rng(0).random((params.n, params.n), chunks=50)
    c = osp.matmul(a, a, memory=params.memory)
    return {"C": c, "count": (c * 0 + 1).sum()}

def check(params, results):
    return osp.Check(params.kind == "right", "Looked at it: " + params.kind)
"""


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(backend, "gpus", tuple)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flow.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def on_two_workers(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "started", lambda *arguments: contextlib.nullcontext(two_workers))


def overspill(*arguments: str | Path, group: click.Group = cli) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_dry_run_prints_the_plan_and_writes_nothing(flow: Path, tmp_path: Path) -> None:
    result = overspill("run", flow, "--dry-run", "--set", "memory=48MiB")
    assert result.exit_code == 0, result.output
    assert "C             100 × 100 float64, 78.1 KiB" in result.stdout
    assert "2 MFLOP" in result.stdout
    assert "memory=48MiB" in result.stdout
    assert "dry run" in result.stdout
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == [flow]


@pytest.mark.usefixtures("on_two_workers")
def test_run_prints_plan_rate_check_and_place(flow: Path, tmp_path: Path) -> None:
    result = overspill("run", flow, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    for text in (
        "product",
        "FLOP/s",
        "verified      Looked at it: right",
        "count: 10,000",
        str(tmp_path / "run/C.zarr"),
    ):
        assert text in result.stdout
    assert result.stderr == ""


@pytest.mark.usefixtures("on_two_workers")
def test_default_place(flow: Path, tmp_path: Path) -> None:
    assert overspill("run", flow).exit_code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("flow-20")
    assert json.loads((run / "manifest.json").read_text())["status"] == "done"


@pytest.mark.usefixtures("on_two_workers")
def test_wrong_result_is_3(flow: Path, tmp_path: Path) -> None:
    result = overspill("run", flow, "--set", "kind=wrong", "--out", tmp_path / "run")
    assert result.exit_code == 3
    assert "NOT RIGHT     Looked at it: wrong" in result.stdout


@pytest.mark.usefixtures("on_two_workers")
def test_malformed_input_is_1(flow: Path, tmp_path: Path) -> None:
    result = overspill("run", flow, "--set", "kind=malformed", "--out", tmp_path / "run")
    assert (result.exit_code, result.stderr) == (1, "error: line 3 is no edge\n")


@pytest.mark.usefixtures("on_two_workers")
def test_resume_after_an_interruption(flow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "my run"
    with monkeypatch.context() as patched:
        patched.setattr("overspill.runs.workflow.check", interrupted)
        result = overspill("run", flow, "--out", run)
    assert result.exit_code == 130
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("interrupted: 3 of 3 blocks are stored")
    assert result.stderr.endswith(f"continue with: overspill resume '{run}'\n")
    result = overspill("resume", run)
    assert result.exit_code == 0, result.output
    assert "computed      0 blocks" in result.stdout
    assert overspill("resume", run).exit_code == 2


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
def test_what_does_not_fit_is_4(flow: Path, tmp_path: Path, extra: list[str], request: pytest.FixtureRequest) -> None:
    if not extra:
        request.getfixturevalue("on_two_workers")
    result = overspill("run", flow, "--set", "memory=1KiB", "--out", tmp_path / "run", *extra)
    assert result.exit_code == 4
    assert result.stderr.startswith("error: tile budget 1 KiB cannot hold")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run gone.py", "gone.py cannot be read (No such file or directory)"),
        ("run flow.py --set size=3", "there is no parameter 'size': the parameters are n, kind, memory"),
        ("run flow.py --set memry=3", "did you mean 'memory'?"),
        ("run flow.py --set n=many", "parameter 'n' cannot be 'many': it takes a whole number"),
        ("run flow.py --set n", "--set n assigns nothing"),
        ("run flow.py --set memory=lots", "parameter 'memory' cannot be 'lots': it takes a size in bytes like 48MiB"),
        ("run flow.py --out taken", "--out taken is not empty"),
        ("run flow.py --out flow.py", "--out flow.py cannot be used (Not a directory)"),
        ("run flow.py --cluster gone.yaml", "gone.yaml cannot be read"),
        ("run flow.py --dry-run --out taken", "taken is not empty"),
        ("run flow.py --dry-run --cluster gone.yaml", "gone.yaml cannot be read"),
        ("run flow.py --wet-run", "No such option"),
        ("run", "Missing argument 'WORKFLOW'"),
        ("walk", "No such command 'walk'"),
        ("resume gone", "gone is no run"),
        ("resume taken", "taken is no run"),
    ],
)
def test_usage_is_2(flow: Path, arguments: str, message: str) -> None:
    taken = flow.parent / "taken"
    taken.mkdir()
    (taken / "mine").write_text("precious")
    result = overspill(*arguments.split())
    assert result.exit_code == 2
    assert message.lower() in result.stderr.lower()
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert {path.name for path in flow.parent.iterdir()} == {"flow.py", "taken"}
    assert (taken / "mine").read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing = 1", "has no Params, a frozen dataclass of parameters: see docs/workflows.md"),
        (SOURCE.replace("def build", "def built"), "has no build"),
        (SOURCE.replace("def check", "def checked"), "has no check"),
        ("def", "is not Python"),
        ("import gone_for_good", "ModuleNotFoundError: No module named 'gone_for_good' (flow.py:1)"),
        (
            SOURCE.replace("da.random.", "da.randon."),
            "AttributeError: module 'dask.array' has no attribute 'randon' (flow.py:",
        ),
    ],
)
def test_broken_workflow_is_1(flow: Path, content: str, message: str) -> None:
    flow.write_text(content)
    result = overspill("run", flow, "--dry-run")
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_wrong_cluster_file_is_1(flow: Path, tmp_path: Path) -> None:
    (tmp_path / "gpu.yaml").write_text("LocalCUDACluster:\n")
    (tmp_path / "odd.yaml").write_text("LocalCluster:\n  jit_unspill: true\n")
    for name, message in (("gpu.yaml", "no GPU can be used here"), ("odd.yaml", "takes no keyword 'jit_unspill'")):
        for extra in ([], ["--dry-run"]):
            result = overspill("run", flow, "--cluster", name, *extra)
            assert result.exit_code == 1
            assert message in result.stderr


def test_as_a_command_of_another_program(flow: Path) -> None:
    """``dask overspill`` calls the group from dask's own, under the name that dask's registration gives it."""

    @click.group
    def dask() -> None:
        pass

    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["dask_cli"]
    for name, value in declared.items():
        dask_cli._register_command_ep(dask, EntryPoint(name, value, "dask_cli"))
    assert list(dask.commands) == ["overspill"]
    result = overspill("overspill", "run", flow, "--set", "n=x", group=dask)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert overspill("overspill", "run", flow, "--dry-run", group=dask).exit_code == 0


def test_statuses() -> None:
    stopped = session.Interrupted(Path("runs/a"), Stopped(3, 7))
    assert [
        exit_status(error)
        for error in (
            WorkflowError(),
            ClusterError(),
            UsageError(),
            StoreExistsError(),
            MemoryBudgetError(),
            KeyboardInterrupt(),
            stopped,
        )
    ] == [1, 1, 2, 2, 4, 130, 130]
    assert exit_status(ZeroDivisionError()) is None
    assert sentence(stopped) == "interrupted: 3 of 7 blocks are stored; continue with: overspill resume runs/a"
    assert sentence(UsageError("two\nlines")) == "error: two lines"


def test_help_names_the_commands() -> None:
    result = overspill("--help")
    assert result.exit_code == 0
    assert "run" in result.stdout
    assert "resume" in result.stdout
