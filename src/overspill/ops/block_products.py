"""The layer of a sparse product's tasks, by which plans know it."""

from collections.abc import Set
from typing import Any

from dask._task_spec import Task
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill import backend
from overspill.planning.resources import Resources
from overspill.planning.sparse import BlockProduct, SparseProduct, plan_sparse


class SparseProductLayer(MaterializedLayer):
    """The tasks that multiply row blocks, each with a `BlockProduct` as its first argument, and what they take.

    Parameters
    ----------
    mapping
        The tasks.
    shape
        Of the matrix that is multiplied from the left.
    residence
        Where its blocks lie.
    """

    def __init__(self, mapping: dict[Any, Any], shape: tuple[int, int], residence: backend.Residence) -> None:
        super().__init__(mapping)
        self.shape = shape
        self.residence = residence


def planned_in(task: Task) -> BlockProduct | None:
    """What `task` multiplies; None where it multiplies no row block."""
    first = task.args[0] if task.args else None
    return first if isinstance(first, BlockProduct) else None


def sparse_products(graph: HighLevelGraph, needed: Set[Any], resources: Resources) -> tuple[SparseProduct, ...]:
    """The plans of the sparse products in `graph`, of those tasks whose keys are `needed`."""
    plans = []
    for layer in graph.layers.values():
        if isinstance(layer, SparseProductLayer):
            tasks = [planned_in(task) for key, task in layer.mapping.items() if key in needed]
            if products := [found for found in tasks if found is not None]:
                on_device = layer.residence == "device"
                plans.append(plan_sparse(layer.shape, products, resources, on_device=on_device))
    return tuple(plans)
