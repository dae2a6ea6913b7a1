"""A session of a run: starting one, or taking up one that was interrupted, from parameters to report."""

import contextlib
import hashlib
import json
import time
import traceback
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from overspill.cluster import Cluster
from overspill.errors import OverspillError, UsageError, WorkflowError
from overspill.runs import directory as directories
from overspill.runs import ground, manifest, params, workflow
from overspill.runs.compute import Stopped, compute, read_back
from overspill.runs.directory import RunDirectory
from overspill.runs.preview import Preview, preview
from overspill.runs.report import Report
from overspill.runs.workflow import Workflow


class Watcher(Protocol):
    """Who is told how a session goes."""

    def began(self, job: "Job") -> None:
        """Called first."""

    def planned(self, preview: Preview, cluster: Cluster) -> None:
        """Called once, before anything is computed."""

    def advanced(self, done: int, total: int, kept: int) -> None:
        """Called whenever a block is stored, with how many an earlier session stored."""

    def checking(self) -> None:
        """Called when all blocks are stored, before the check."""


class Interrupted(Exception):
    """The session was interrupted; `directory` can be resumed."""

    def __init__(self, directory: Path, stopped: Stopped) -> None:
        super().__init__(str(stopped))
        self.directory = directory


@dataclass(frozen=True, slots=True)
class Job:
    """A workflow with its parameters, and the cluster asked for."""

    workflow: Workflow
    params: Any
    cluster: str | None

    @property
    def memory(self) -> Any:
        """The tile budget among the parameters, if there is one."""
        return getattr(self.params, "memory", None)

    @property
    def token(self) -> str:
        """Identifies what is computed: a resumed session continues only what bears the same."""
        values = json.dumps(params.to_json(self.params), sort_keys=True)
        return hashlib.sha256(f"{self.workflow.sha256} {values}".encode()).hexdigest()


def foresee(job: Job) -> Preview:
    """The preview of `job`; starts nothing and writes nothing."""
    with ground.imagined(job.cluster, job.memory):
        return preview(workflow.build(job.workflow, job.params))


def start(job: Job, out: Path | None, watcher: Watcher) -> Report:
    """Run `job` into a new directory.

    Raises
    ------
    UsageError
        If `out` is taken.
    MemoryBudgetError
        If it cannot fit.
    Interrupted
        On a keyboard interrupt once computing has begun.
    OverspillError
        For everything else that a person can mend.
    """
    watcher.began(job)
    path = out or directories.default_path(job.workflow.name, datetime.now())
    directories.check_unused(path)
    with ground.started(job.cluster, job.memory) as cluster:
        try:
            arrays = workflow.build(job.workflow, job.params)
        except workflow.WorkflowCrash as crash:
            failed = directories.create(path)
            _write_head(failed, job, cluster)
            _record_failure(failed, crash)
            raise
        foreseen = preview(arrays)
        watcher.planned(foreseen, cluster)
        directory = directories.create(path)
        with directories.locked(directory):
            _write_head(directory, job, cluster)
            directory.write("plan", foreseen.to_dict())
            return _work(directory, job, cluster, arrays, foreseen, watcher, resume=False)


def resume(path: Path, watcher: Watcher) -> Report:
    """Take up the run in the directory `path`: same workflow, parameters, cluster and budgets.

    Raises
    ------
    UsageError
        If `path` is no run, is done, or is being worked on.
    WorkflowError
        If the workflow has changed since.
    Interrupted, OverspillError
        As `start` does.
    """
    directory = RunDirectory(path)
    begun = directory.read("manifest")
    if begun["status"] == "done":
        raise UsageError(f"{path} is done: there is nothing to resume")
    loaded = workflow.load(Path(begun["workflow"]))
    if loaded.sha256 != begun["workflow_sha256"]:
        raise WorkflowError(f"workflow {loaded.path} has changed since {path} began: start a new run")
    job = Job(loaded, params.from_json(loaded.Params, directory.read("params")), begun["cluster"])
    watcher.began(job)
    resources = begun["resources"]
    # The plan, and with it the blocks, must come out as before: the same budgets, not those of today's free memory.
    with (
        directories.locked(directory),
        ground.started(job.cluster, resources["pool_nbytes"], resources["device_nbytes"] or None) as cluster,
    ):
        arrays = workflow.build(job.workflow, job.params)
        foreseen = preview(arrays)
        watcher.planned(foreseen, cluster)
        _set_status(directory, "running")
        return _work(directory, job, cluster, arrays, foreseen, watcher, resume=True)


def _work(
    directory: RunDirectory,
    job: Job,
    cluster: Cluster,
    arrays: dict[str, Any],
    foreseen: Preview,
    watcher: Watcher,
    *,
    resume: bool,
) -> Report:
    paths = {name: directory.array(name) for name in arrays}
    try:
        measured = compute(
            cluster.client,
            arrays,
            paths,
            token=job.token,
            resume=resume,
            workflow_path=job.workflow.path,
            progress=watcher.advanced,
        )
        directory.write("ledger", {"seconds": measured.seconds, "blocks": measured.blocks, **measured.counters})
        watcher.checking()
        begun = time.perf_counter()
        results = read_back(paths)
        checks = workflow.check(job.workflow, job.params, results)
    except (KeyboardInterrupt, Stopped) as stop:
        _set_status(directory, "interrupted")
        stopped = stop if isinstance(stop, Stopped) else Stopped(foreseen.blocks, foreseen.blocks)
        raise Interrupted(directory.path, stopped) from None
    except BaseException as error:
        _record_failure(directory, error)
        raise
    report = Report(
        directory=directory.path,
        arrays=paths,
        values={name: result for name, result in results.items() if isinstance(result, np.generic)},
        checks=checks,
        blocks=measured.blocks,
        seconds=measured.seconds,
        check_s=time.perf_counter() - begun,
        flop=measured.counters["flop"],
        peak_tiles_nbytes=measured.counters["peak_pool_nbytes"],
        overflow_nbytes=measured.counters["overflow_nbytes"],
        predicted_s=foreseen.plan.predicted_s,
    )
    directory.write("report", report.to_dict())
    _set_status(directory, "done" if report.passed else "wrong")
    return report


def _write_head(directory: RunDirectory, job: Job, cluster: Cluster) -> None:
    directory.write("params", params.to_json(job.params))
    directory.write("manifest", manifest.begin(job.workflow, ground.located(job.cluster), cluster.resources))


def _set_status(directory: RunDirectory, status: manifest.Status) -> None:
    ended = None if status == "running" else manifest.now()
    directory.write("manifest", directory.read("manifest") | {"status": status, "ended": ended})


def _record_failure(directory: RunDirectory, error: BaseException) -> None:
    """Note that the run failed, and of an exception that nobody meant the whole traceback."""
    # The disk may be full, which may be why it failed: the first error is the one to tell.
    with contextlib.suppress(OverspillError, OSError):
        if isinstance(error, workflow.WorkflowCrash) or not isinstance(error, OverspillError):
            directory.write_text("error.txt", "".join(traceback.format_exception(error)))
        _set_status(directory, "failed")
