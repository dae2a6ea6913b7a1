"""A session of a run: starting one, or taking up one that was interrupted, from parameters to report."""

import contextlib
import functools
import hashlib
import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from overspill.cluster import Cluster
from overspill.errors import OverspillError, UsageError, WorkflowError
from overspill.memory import ledger
from overspill.runs import directory as directories
from overspill.runs import ground, manifest, params, workflow
from overspill.runs.compute import Stopped, compute
from overspill.runs.conclude import conclude
from overspill.runs.directory import RunDirectory
from overspill.runs.outputs import Outputs
from overspill.runs.preview import Preview, preview
from overspill.runs.report import Report
from overspill.runs.solve import solve
from overspill.runs.workflow import Workflow


class Watcher(Protocol):
    """Who is told how a session goes."""

    def began(self, job: "Job") -> None:
        """Called first."""

    def planned(self, preview: Preview, cluster: Cluster) -> None:
        """Called once, before anything is computed."""

    def advanced(self, done: int, total: int, kept: int) -> None:
        """Called whenever a block is stored, with how many an earlier session stored."""

    def solving(self) -> None:
        """Called when what `build` returns is stored, before the workflow solves, if it does."""

    def checking(self) -> None:
        """Called when everything is stored, before the check."""

    def interrupted(self, stop: "Interrupted") -> None:
        """Called as soon as the session is interrupted, before the cluster is closed, which takes a while."""


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


def foresee(job: Job, out: Path | None = None) -> Preview:
    """The preview of `job` into the new directory `out`; starts nothing and writes nothing.

    Raises
    ------
    UsageError, MemoryBudgetError, OverspillError
        As `start` does before it begins to compute.
    """
    if out:
        directories.check_unused(out)
    with ground.imagined(job.cluster, job.memory):
        return preview(workflow.build(job.workflow, job.params).arrays)


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
    if out:
        directories.check_unused(out)
    with ground.started(job.cluster, job.memory) as cluster:
        try:
            outputs = workflow.build(job.workflow, job.params)
        except workflow.WorkflowCrash as crash:
            failed = _create(job, out)
            _write_head(failed, job, cluster)
            _record_failure(failed, crash)
            raise
        foreseen = preview(outputs.arrays)
        watcher.planned(foreseen, cluster)
        directory = _create(job, out)
        with directories.locked(directory), _recording(directory, watcher):
            _write_head(directory, job, cluster)
            directory.write("plan", foreseen.to_dict())
            return _work(directory, job, cluster, outputs, foreseen, watcher, resume=False)


def resume(path: Path, watcher: Watcher) -> Report:
    """Take up the run in the directory `path`: same workflow, parameters, cluster and budgets.

    Raises
    ------
    UsageError
        If `path` is no run, is done, or is being worked on.
    WorkflowError
        If the workflow, or a file that it reads, has changed since.
    Interrupted, OverspillError
        As `start` does.
    """
    directory = RunDirectory(path)
    begun = manifest.read(directory)
    if begun.status == "done":
        raise UsageError(f"{path} is done: there is nothing to resume")
    loaded = workflow.load(begun.workflow_path)
    if loaded.sha256 != begun.workflow_sha256:
        raise WorkflowError(f"workflow {loaded.path} has changed since {path} began: start a new run")
    job = Job(loaded, params.from_json(loaded.Params, directory.read("params")), begun.cluster)
    for file, state in manifest.inputs(job.params).items():
        if begun.inputs.get(file) != state:
            raise WorkflowError(f"{file} has changed since {path} began: start a new run")
    watcher.began(job)
    try:
        with (
            directories.locked(directory),
            # What fitted before fits again: the same budgets, not those of today's free memory.
            ground.started(job.cluster, begun.pool_nbytes, begun.device_nbytes or None) as cluster,
        ):
            outputs = workflow.build(job.workflow, job.params)
            foreseen = preview(outputs.arrays)
            watcher.planned(foreseen, cluster)
            with _recording(directory, watcher):
                _set_status(directory, "running")
                return _work(directory, job, cluster, outputs, foreseen, watcher, resume=True)
    except KeyboardInterrupt:
        raise _interrupted(directory, Stopped(), watcher) from None


def _work(
    directory: RunDirectory,
    job: Job,
    cluster: Cluster,
    outputs: Outputs,
    foreseen: Preview,
    watcher: Watcher,
    *,
    resume: bool,
) -> Report:
    cluster.client.run(ledger.reset)
    store = functools.partial(
        compute, cluster.client, directory=directory, token=job.token, resume=resume, workflow_path=job.workflow.path
    )
    measured = store(outputs, progress=watcher.advanced)
    try:
        if job.workflow.solve:
            watcher.solving()
            outputs, measured = solve(directory, job.workflow, job.params, outputs, measured, store)
        directory.write("ledger", {"seconds": measured.seconds, "blocks": measured.blocks, **measured.counters})
        watcher.checking()
        report = conclude(directory, job.workflow, job.params, outputs, measured, foreseen.plan.saving_s)
    except KeyboardInterrupt:
        raise Stopped(foreseen.blocks, foreseen.blocks) from None
    directory.write("report", report.to_dict())
    _set_status(directory, "done" if report.passed else "wrong")
    return report


@contextlib.contextmanager
def _recording(directory: RunDirectory, watcher: Watcher) -> Iterator[None]:
    """Let the manifest say how it ended when the block does not end well."""
    try:
        yield
    except (KeyboardInterrupt, Stopped) as stop:
        # Told first: the disk may be full.
        error = _interrupted(directory, stop if isinstance(stop, Stopped) else Stopped(), watcher)
        with contextlib.suppress(OverspillError):
            _set_status(directory, "interrupted")
        raise error from None
    except BaseException as error:
        _record_failure(directory, error)
        raise


def _interrupted(directory: RunDirectory, stopped: Stopped, watcher: Watcher) -> Interrupted:
    stop = Interrupted(directory.path, stopped)
    watcher.interrupted(stop)
    return stop


def _create(job: Job, out: Path | None) -> RunDirectory:
    return directories.create(out) if out else directories.create_default(job.workflow.name, datetime.now())


def _write_head(directory: RunDirectory, job: Job, cluster: Cluster) -> None:
    directory.write("params", params.to_json(job.params))
    directory.write(
        "manifest", manifest.begin(job.workflow, job.params, ground.located(job.cluster), cluster.resources)
    )


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
