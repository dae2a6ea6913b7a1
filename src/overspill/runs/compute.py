"""Computing and storing the results of a run, block by block, on a cluster."""

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
from dask._task_spec import DataNode
from distributed import Client, Future, KilledWorker, as_completed, futures_of

from overspill import storage
from overspill.errors import ClusterError, OverspillError
from overspill.memory import ledger
from overspill.runs.directory import RunDirectory
from overspill.runs.outputs import Outputs
from overspill.runs.workflow import crash
from overspill.storage.group import make_group
from overspill.storage.labels import Labels

Progress = Callable[[int, int, int], None]
"""Called with how many blocks are stored, of how many, and how many of them an earlier session stored."""


class Stopped(Exception):
    """Computing ended at a keyboard interrupt, with `done` of `total` blocks stored; 0 of 0 before it began."""

    def __init__(self, done: int = 0, total: int = 0) -> None:
        super().__init__(f"{done} of {total} blocks are stored" if total else "nothing was computed")
        self.done, self.total = done, total


@dataclass(frozen=True, slots=True)
class Measured:
    """What computing took: blocks, seconds, and the workers' counters so far (see `overspill.memory.ledger`)."""

    blocks: int
    seconds: float
    counters: dict[str, int]


def compute(
    client: Client,
    outputs: Outputs,
    directory: RunDirectory,
    *,
    token: str,
    resume: bool,
    workflow_path: Path,
    progress: Progress = lambda done, total, kept: None,
) -> Measured:
    """Store `outputs` in `directory`; all are computed together, so that what they share is computed once.

    Raises
    ------
    Stopped
        On a keyboard interrupt; what is stored then stays.
    OverspillError
        If a block cannot be computed; for an exception that the workflow did not mean to raise a `WorkflowCrash`.
    """
    futures: list[Future[Any]] = []
    done = kept = 0
    try:
        for name, attributes in outputs.datasets.items():
            make_group(directory.array(name), attributes)
        writes: list[Any] = [
            _write(outputs, name, directory.array(name), resume=resume, token=f"{token}-{name}")
            for name in outputs.arrays
        ]
        kept = sum(map(_constants, writes))
        begun = time.perf_counter()
        futures = futures_of(client.persist(writes))
        progress(kept, len(futures), kept)
        for future in as_completed(futures):
            if future.status != "finished":
                raise _failure(future, workflow_path, directory.path)
            done += 1
            progress(max(done, kept), len(futures), kept)
        seconds = time.perf_counter() - begun
        snapshots = client.run(ledger.snapshot, on_error="ignore")
        return Measured(done - kept, seconds, ledger.total(list(snapshots.values())))
    except KeyboardInterrupt:
        raise Stopped(max(done, kept), len(futures)) from None
    finally:
        if client.status == "running":
            client.cancel(futures)


def _write(outputs: Outputs, name: str, path: Path, *, resume: bool, token: str) -> da.Array | None:
    labels = outputs.labels.get(name, Labels(None, {}))
    return storage.save(
        outputs.arrays[name],
        path,
        resume=resume,
        compute=False,
        token=token,
        dims=labels.dims,
        attributes=labels.attributes,
    )


def _constants(writes: da.Array) -> int:
    """How many blocks `save` found stored already: their writes are constants."""
    return sum(isinstance(task, DataNode) for task in writes.dask.layers[writes.name].values())


def _failure(future: Future[Any], workflow_path: Path, run: Path) -> Exception:
    if future.status != "error":
        return ClusterError(
            "the cluster's scheduler was lost, or dropped a block that was asked of it: blocks that are stored stay, "
            f"overspill resume {shlex.quote(str(run))} computes the others"
        )
    error = future.exception()
    if isinstance(error, KilledWorker):
        return ClusterError(
            f"one block ended {error.allowed_failures + 1} workers, perhaps for want of memory: "
            "lower the memory budget, or see the workers' logs"
        )
    if isinstance(error, OverspillError):
        return error
    failure = crash(workflow_path, error.with_traceback(future.traceback()))
    failure.__cause__ = error
    return failure
