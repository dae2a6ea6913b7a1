"""What a workflow solves for: computed on the cluster as it likes, from stored results, and stored beside them."""

import dataclasses
import time
from collections.abc import Callable

from overspill.runs import workflow as workflows
from overspill.runs.compute import Measured
from overspill.runs.conclude import stored
from overspill.runs.directory import RunDirectory
from overspill.runs.outputs import Outputs
from overspill.runs.workflow import Workflow


def solve(
    directory: RunDirectory,
    workflow: Workflow,
    params: object,
    outputs: Outputs,
    measured: Measured,
    store: Callable[[Outputs], Measured],
) -> tuple[Outputs, Measured]:
    """All results, and what they took: `outputs`, stored at the cost `measured`, and what `workflow` makes of them.

    Raises
    ------
    WorkflowError
        If the workflow's `solve` fails.
    """
    begun = time.perf_counter()
    solved = workflows.solve(workflow, params, stored(directory, outputs))
    seconds = time.perf_counter() - begun
    last = store(solved)
    seconds += measured.seconds + last.seconds
    return outputs | solved, dataclasses.replace(last, blocks=measured.blocks + last.blocks, seconds=seconds)
