"""What follows when all results are stored: the workflow checks and presents them, the report says what they took."""

import time
from typing import Any

from overspill import storage
from overspill.memory import ledger
from overspill.runs import workflow as workflows
from overspill.runs.compute import Measured
from overspill.runs.directory import RunDirectory
from overspill.runs.outputs import Outputs, put_together, scalars
from overspill.runs.report import Report
from overspill.runs.workflow import Workflow


def conclude(
    directory: RunDirectory,
    workflow: Workflow,
    params: object,
    outputs: Outputs,
    measured: Measured,
    predicted_s: float,
) -> Report:
    """The report of a run whose outputs are stored in `directory`.

    Raises
    ------
    WorkflowError
        If the workflow's `check` or `present` fails.
    """
    begun = time.perf_counter()
    results = stored(directory, outputs)
    checks = workflows.check(workflow, params, results)
    files = workflows.present(workflow, params, results, directory.path)
    return Report(
        directory=directory.path,
        arrays={name: directory.array(name) for name in outputs.arrays},
        values=scalars(results),
        files=files,
        checks=checks,
        blocks=measured.blocks,
        seconds=measured.seconds,
        check_s=time.perf_counter() - begun,
        flop=measured.counters["flop"],
        peak_tiles_nbytes=measured.counters["peak_pool_nbytes"],
        overflow_nbytes=measured.counters["overflow_nbytes"],
        spilled_nbytes={link: measured.counters[f"{link}_nbytes"] for link in ledger.LINKS},
        predicted_s=predicted_s,
    )


def stored(directory: RunDirectory, outputs: Outputs) -> dict[str, Any]:
    """The results, as a workflow gets to see them, of `outputs` that are stored in `directory`."""
    return put_together(outputs, {name: storage.open(directory.array(name)) for name in outputs.arrays})
