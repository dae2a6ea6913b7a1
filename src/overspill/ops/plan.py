"""What computing an array will cost, read off its graph."""

import math
from collections.abc import Sequence, Set
from typing import Any

import dask.array as da
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

from overspill import backend, machine
from overspill.errors import ArrayError
from overspill.ops.block_products import sparse_products
from overspill.ops.matmul import ProductLayer
from overspill.ops.reading import read
from overspill.planning.alive import demands
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.partial import partial
from overspill.planning.passes import plan_passes
from overspill.planning.plan import Plan
from overspill.planning.resources import Resources, active
from overspill.planning.spilling import spill


def plan(x: da.Array) -> Plan:
    """What computing `x` will cost: bytes over each link, peak bytes, tasks and predicted seconds.

    Nothing is computed. Matrix products made by `overspill.matmul` are planned in full, as far as `x` needs them. Of
    everything else in the graph the plan tells the bytes that go over each link, from disk, and through host and device
    memory, the most that a task has in hand, seconds, what takes them, and whether NumPy would be faster. Of all of it,
    the bytes of chunks that will exist at a time, and what share of them must leave the GPUs, or host memory, on the
    active cluster. Takes about 0.1 ms for each task of the graph.

    Parameters
    ----------
    x
        Lazy array.

    Returns
    -------
    Plan
        Prints as a table; `to_dict` gives the numbers.

    Raises
    ------
    ArrayError
        If `x` has chunks of unknown size.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> a = da.ones((300, 200), chunks=100)
    >>> osp.plan(osp.matmul(a, a.T)).flop
    36000000
    >>> b = a - a.mean()  # all of a waits for its mean
    >>> osp.plan(b).saved.held_nbytes >= a.nbytes
    True
    >>> osp.plan(b).passes.bound  # so small an array takes no longer than its tasks do by themselves
    'tasks'
    """
    return plan_together((x,))


def plan_together(arrays: Sequence[da.Array]) -> Plan:
    """The plan of computing `arrays` at once: what they share is counted once. Shape and type are the last one's."""
    for x in arrays:
        if math.isnan(x.nbytes):
            raise ArrayError("x has chunks of unknown size: call x.compute_chunk_sizes() first")
    graph = HighLevelGraph.merge(*(x.dask for x in arrays))
    keys = list(flatten([x.__dask_keys__() for x in arrays]))
    of_products = [key for layer in graph.layers.values() if isinstance(layer, ProductLayer) for key in layer.mapping]
    reading = read(graph, keys, of_products)
    resources = _resources(on_device=any(work.device_nbytes for work in reading.works))
    slots = resources.workers * resources.threads
    last = arrays[-1]
    return Plan(
        shape=last.shape,
        dtype=str(last.dtype),
        nbytes=int(last.nbytes),
        residence=backend.residence_of(last._meta),
        tasks=len(graph.cull(keys)),
        workers=resources.workers,
        products=_products(graph, reading.keys, resources),
        passes=plan_passes(reading.passes, reading.peaks, sum(int(x.nbytes) for x in arrays), resources),
        persisted=spill(*demands(reading.works, slots, keep=True), resources),
        saved=spill(*demands(reading.works, slots, keep=False), resources),
        unsized_tasks=reading.unsized,
        sparse_products=sparse_products(graph, reading.keys, resources),
        network=resources.network,
    )


def _resources(*, on_device: bool) -> Resources:
    if on_device and active() is None and backend.gpus():
        return machine.resources("cuda", workers=1, threads=1)
    return machine.current_resources()


def _products(graph: HighLevelGraph, needed: Set[Any], resources: Resources) -> tuple[MatmulPlan, ...]:
    """The plans of the products in `graph`, of those tiles whose keys are `needed`."""
    plans = []
    for product in graph.layers.values():
        if isinstance(product, ProductLayer) and (tiles := [key[1:] for key in product.mapping if key in needed]):
            slots = resources.workers * (resources.threads if product.plan.side == "numpy" else 1)
            plans.append(partial(product.plan, tiles, slots))
    return tuple(plans)
