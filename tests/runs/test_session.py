"""A session computes, stores, checks and records; an interrupted one is taken up where it ended."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Future

import overspill as osp
from overspill.cluster import Cluster
from overspill.errors import ClusterError, MemoryBudgetError, StorageError, UsageError, WorkflowError
from overspill.runs import ground, params, session, workflow
from runs.watched import Watched

SOURCE = r"""
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np

import overspill as osp

@dataclass(frozen=True)
class Params:
    log: Path
    mode: str = "fine"
    source: Path | None = None
    memory: osp.Nbytes | None = None

def compute(block, mode, log, block_id=None):
    with (log / "blocks").open("a") as lines:
        lines.write(f"{block_id}\n")
    if mode == "crash" and block_id == (1, 1):
        raise RuntimeError("boom")
    if mode == "refuse" and block_id == (1, 1):
        raise osp.WorkflowError("line 7 is odd")
    if mode == "die" and block_id == (1, 1) and not (log / "died").exists():
        (log / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "die always":
        os.kill(os.getpid(), signal.SIGKILL)
    return block + 1

def build(params):
    if params.mode == "no plan":
        a = da.ones((400, 400), chunks=100)
        return {"x": osp.matmul(a, a, memory=1000)}
    if params.mode == "no build":
        return {}[params.mode]
    x = da.zeros((4, 6), chunks=2).map_blocks(compute, params.mode, params.log, dtype=float, meta=np.empty((0, 0)))
    return {"x": x, "total": x.sum() * (np.nan if params.mode == "not finite" else 1)}

def check(params, results):
    if params.mode == "no check":
        raise KeyError("gone")
    assert isinstance(results["total"], np.float64)
    if params.mode == "not finite":
        return osp.Check(np.isfinite(results["total"]), "it is finite", np.float32(np.inf))
    right = (results["x"] == 1).all().compute() and results["total"] == 24 and params.mode != "wrong"
    return [osp.Check(bool(right), "all are one"), osp.Check(True, "and that is all")]
"""


@pytest.fixture
def on_two_workers(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(ground, "started", lambda *arguments: contextlib.nullcontext(two_workers))
    return two_workers


@pytest.fixture
def on_mortal_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers of one test alone, which may kill them."""
    with osp.cluster(gpu=False, n_workers=2, threads_per_worker=1, memory="256MiB", dashboard_address=None) as started:
        monkeypatch.setattr(ground, "started", lambda *arguments: contextlib.nullcontext(started))
        yield


def job(tmp_path: Path, mode: str = "fine", **settings: str) -> session.Job:
    path = tmp_path / "flow.py"
    path.write_text(SOURCE)
    loaded = workflow.load(path)
    return session.Job(loaded, params.parse(loaded.Params, {"log": str(tmp_path), "mode": mode, **settings}), None)


def computed(tmp_path: Path) -> int:
    return len((tmp_path / "blocks").read_text().splitlines())


def recorded(run: Path, name: str) -> dict[str, Any]:
    return json.loads((run / f"{name}.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.usefixtures("on_two_workers")
def test_everything_is_recorded(tmp_path: Path) -> None:
    watched = Watched()
    run = tmp_path / "run"
    report = session.start(job(tmp_path, memory="64MiB"), run, watched)
    assert report.passed
    assert report.values == {"total": 24.0}
    assert report.blocks == 7
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "manifest.json",
        "params.json",
        "plan.json",
        "ledger.json",
        "report.json",
        "x.zarr",
        "total.zarr",
    }
    assert osp.open(run / "x.zarr").compute().tolist() == [[1] * 6] * 4
    assert recorded(run, "params") == {"log": str(tmp_path), "mode": "fine", "source": None, "memory": 64 * 2**20}
    manifest = recorded(run, "manifest")
    assert manifest["status"] == "done"
    assert manifest["started"] < manifest["ended"]
    assert manifest["packages"].keys() >= {"python", "dask", "numpy", "zarr"}
    assert recorded(run, "ledger")["blocks"] == 7
    assert recorded(run, "report")["values"] == {"total": 24.0}
    assert [check["passed"] for check in recorded(run, "report")["checks"]] == [True, True]
    assert watched.heard[:3] == ["began", "planned", (0, 7, 0)]
    assert watched.heard[-2:] == [(7, 7, 0), "checking"]
    # The total is computed from the same blocks as x.
    assert computed(tmp_path) == 6


@pytest.mark.usefixtures("on_two_workers")
def test_what_a_workflow_solves_for_is_stored_too(tmp_path: Path) -> None:
    solving = """
def solve(params, results):
    if params.mode == "interrupt" and not (params.log / "stopped").exists():
        (params.log / "stopped").touch()
        raise KeyboardInterrupt
    return {"twice": results["x"] * 2, "half": results["total"] / 2, "steps": 3}
"""
    checking = (
        "\n    right = right and (results['twice'] == 2).all().compute() and results['half'] * 2 == results['total']"
    )
    flow = job(tmp_path, "interrupt")
    flow.workflow.path.write_text(SOURCE.replace('!= "wrong"', '!= "wrong"' + checking) + solving)
    flow = session.Job(workflow.load(flow.workflow.path), flow.params, None)
    run, watched = tmp_path / "run", Watched()
    with pytest.raises(session.Interrupted, match="7 of 7 blocks are stored"):
        session.start(flow, run, watched)
    assert watched.heard[-3:] == [(7, 7, 0), "solving", "7 of 7 blocks are stored"]
    report = session.resume(run, watched)
    assert report.passed
    assert (report.values, report.blocks) == ({"total": 24.0, "half": 12.0, "steps": 3}, 6 + 2)
    assert watched.heard[-3:] == [(7, 7, 7), "solving", "checking"]
    assert computed(tmp_path) == 6
    assert recorded(run, "report")["arrays"].keys() == {"x", "total", "twice", "half", "steps"}


def test_a_preview_computes_and_writes_nothing(tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    seen = session.foresee(job(tmp_path))
    assert [result.name for result in seen.results] == ["x", "total"]
    assert set(tmp_path.iterdir()) - set(before) == {tmp_path / "flow.py"}


@pytest.mark.usefixtures("on_two_workers")
def test_interrupted_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    with pytest.raises(session.Interrupted, match=r"4 of 7 blocks are stored") as stopped:
        session.start(job(tmp_path), run, Watched(interrupt_after=4))
    assert stopped.value.directory == run
    assert recorded(run, "manifest")["status"] == "interrupted"
    stored = len(list((run / "x.zarr").glob("c/*/*")))
    assert stored >= 3
    watched = Watched()
    monkeypatch.chdir("/")
    report = session.resume(run, watched)
    assert report.passed
    first = next(heard for heard in watched.heard if isinstance(heard, tuple))
    assert first[0] == first[2] >= 3
    assert report.blocks == 7 - first[2]
    assert recorded(run, "manifest")["status"] == "done"
    with pytest.raises(UsageError, match="is done: there is nothing to resume"):
        session.resume(run, Watched())


@pytest.mark.usefixtures("on_two_workers")
def test_changed_workflow_is_not_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(session.Interrupted):
        session.start(job(tmp_path), run, Watched(interrupt_after=1))
    (tmp_path / "flow.py").write_text(SOURCE + "# changed\n")
    with pytest.raises(WorkflowError, match="has changed since"):
        session.resume(run, Watched())


@pytest.mark.usefixtures("on_two_workers")
def test_changed_input_is_not_resumed(tmp_path: Path) -> None:
    """What was computed from it then and what would be now do not belong together."""
    run, source = tmp_path / "run", tmp_path / "input.txt"
    source.write_text("1")
    with pytest.raises(session.Interrupted):
        session.start(job(tmp_path, source=str(source)), run, Watched(interrupt_after=1))
    source.write_text("22")
    with pytest.raises(WorkflowError, match=r"input\.txt has changed since .*run began: start a new run"):
        session.resume(run, Watched())


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"status": "failed", "resources": 3}'])
def test_damaged_manifest_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(StorageError, match=r"manifest\.json is damaged \(.*\): start a new run"):
        session.resume(tmp_path, Watched())


@pytest.mark.usefixtures("on_two_workers")
def test_interrupted_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resuming again is then to be told too, though nothing new was computed."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    watched = Watched()
    with monkeypatch.context() as patched:
        patched.setattr("distributed.Client.run", interrupted)
        with pytest.raises(session.Interrupted, match=r"^nothing was computed$"):
            session.start(job(tmp_path), run, watched)
    assert watched.heard[-1] == "nothing was computed"
    assert recorded(run, "manifest")["status"] == "interrupted"
    with monkeypatch.context() as patched:
        patched.setattr(ground, "started", interrupted)
        with pytest.raises(session.Interrupted):
            session.resume(run, watched)
    assert session.resume(run, Watched()).passed


@pytest.mark.usefixtures("on_two_workers")
def test_not_finite_values_are_recorded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not session.start(job(tmp_path, "not finite"), run, Watched()).passed

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    report = json.loads((run / "report.json").read_text(), parse_constant=refuse)
    assert report["values"]["total"] == "nan"
    assert report["checks"][0]["error"] == "inf"


def test_lost_blocks_are_no_defect(tmp_path: Path, on_two_workers: Cluster) -> None:
    """As a scheduler that ends leaves them: neither computed nor failed."""
    client = on_two_workers.client

    class Losing(Watched):
        def advanced(self, done: int, total: int, kept: int) -> None:
            client.cancel([Future(key, client) for key in list(client.futures)])

    run = tmp_path / "run"
    with pytest.raises(ClusterError, match=r"scheduler was lost.*, overspill resume .*run computes the others"):
        session.start(job(tmp_path), run, Losing())
    assert recorded(run, "manifest")["status"] == "failed"
    assert session.resume(run, Watched()).passed


def test_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run"):
        session.resume(tmp_path, Watched())


@pytest.mark.usefixtures("on_two_workers")
def test_a_crash_is_one_line_and_a_file(tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = 1 + SOURCE[: SOURCE.index('RuntimeError("boom")')].count("\n")
    with pytest.raises(WorkflowError, match=rf"^RuntimeError: boom \(flow\.py:{line}\)$"):
        session.start(job(tmp_path, "crash"), run, Watched())
    assert "RuntimeError: boom" in (run / "error.txt").read_text()
    assert recorded(run, "manifest")["status"] == "failed"


@pytest.mark.usefixtures("on_two_workers")
@pytest.mark.parametrize(("mode", "message"), [("no build", "KeyError: 'no build'"), ("no check", "KeyError: 'gone'")])
def test_a_crash_outside_tasks(tmp_path: Path, mode: str, message: str) -> None:
    run = tmp_path / "run"
    with pytest.raises(WorkflowError, match=rf"^{message} \(flow\.py:\d+\)$"):
        session.start(job(tmp_path, mode), run, Watched())
    assert "Traceback" in (run / "error.txt").read_text()
    assert recorded(run, "manifest")["status"] == "failed"


@pytest.mark.usefixtures("on_two_workers")
def test_what_a_task_refuses_is_no_crash(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(WorkflowError, match=r"^line 7 is odd$"):
        session.start(job(tmp_path, "refuse"), run, Watched())
    assert not (run / "error.txt").exists()


@pytest.mark.usefixtures("on_two_workers")
def test_a_wrong_result_is_recorded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not session.start(job(tmp_path, "wrong"), run, Watched()).passed
    assert recorded(run, "manifest")["status"] == "wrong"


@pytest.mark.usefixtures("on_two_workers")
def test_what_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MemoryBudgetError):
        session.start(job(tmp_path, "no plan"), tmp_path / "run", Watched())
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("on_two_workers")
def test_taken_directory_is_refused_before_anything(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine").touch()
    with pytest.raises(UsageError, match="is not empty"):
        session.start(job(tmp_path), run, Watched())
    assert [path.name for path in run.iterdir()] == ["mine"]
    assert not (tmp_path / "blocks").exists()


@pytest.mark.usefixtures("on_mortal_workers")
def test_killed_worker_is_no_failure(tmp_path: Path) -> None:
    assert session.start(job(tmp_path, "die"), tmp_path / "run", Watched()).passed
    assert (tmp_path / "died").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("on_mortal_workers")
def test_block_that_kills_every_worker(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="one block ended 4 workers"):
        session.start(job(tmp_path, "die always"), tmp_path / "run", Watched())


def test_equal_jobs_have_equal_tokens(tmp_path: Path) -> None:
    assert job(tmp_path).token == job(tmp_path).token
    assert job(tmp_path).token != job(tmp_path, "other").token
