"""Tiles of a product go where a plan says; where Dask puts them, four equal GPUs get 5, 4, 4 and 3 of 16."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import TaskState

from overspill.planning.placement import is_of_product, placed


class ProductPlacement(SchedulerPlugin):
    """Tells the scheduler which worker is to make each tile of a product; another one that idles may still take it.

    What follows a product tile by tile is fused with it, and placed with it. Left to Dask are products of one tile,
    tasks that a user has told where to run, and those that make their operands themselves: Dask keeps these back until
    a worker has nothing else to do, so that no more tiles wait for whoever uses them up than the plan has room for.
    """

    name = "overspill-products"
    idempotent = True

    def update_graph(self, scheduler: Scheduler, *, tasks: list[Any], **_: Any) -> None:
        """Place what `tasks` has of products; called before any of them is sent to a worker."""
        # Workers that are replaced keep their names: the same product goes to the same GPUs again.
        workers = sorted(scheduler.running, key=lambda worker: str(worker.name))
        if len(workers) < 2:
            return
        given = 0
        for tiles in _products(scheduler, tasks):
            for position, number in placed(tiles, len(workers)).items():
                task = tiles[position]
                # Small products of one graph must not all begin at the first worker.
                task.worker_restrictions = {workers[(given + number) % len(workers)].address}
                task.loose_restrictions = True
            given += len(tiles)


def _products(scheduler: Scheduler, keys: Iterable[Any]) -> list[dict[tuple[int, int], TaskState]]:
    """Tasks of products of two tiles or more that are still to be placed, by position, in the order of their names."""
    layers: defaultdict[tuple[str, int], dict[tuple[int, ...], TaskState]] = defaultdict(dict)
    for key in keys:
        if is_of_product(key):
            task = scheduler.tasks[key]
            if task.state == "released" and task.dependencies and not _is_restricted(task):
                layers[key[0], len(key)][key[1:]] = task
    grids = (_grid(layers[layer]) for layer in sorted(layers))
    return [grid for grid in grids if len(grid) > 1]


def _is_restricted(task: TaskState) -> bool:
    return bool(task.worker_restrictions or task.host_restrictions or task.resource_restrictions)


def _grid(layer: dict[tuple[int, ...], TaskState]) -> dict[tuple[int, int], TaskState]:
    """The tasks by two indices: what is fused with a product may have others, that do not vary, or lack one."""
    varying = [axis for axis, indices in enumerate(zip(*layer, strict=True)) if len(set(indices)) > 1]
    if len(varying) > 2:
        return {}
    grid = {}
    for index, task in layer.items():
        i, j, *_ = (*(index[axis] for axis in varying), 0, 0)
        grid[i, j] = task
    return grid
