"""What a graph tells of the tasks that Dask will run: what they make, move, do and need."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from dask._task_spec import Alias, GraphNode, Task, convert_legacy_graph
from dask.blockwise import fuse_roots, optimize_blockwise
from dask.highlevelgraph import HighLevelGraph
from dask.order import order

from overspill.ops.chunks import Extent, extents_of, target
from overspill.ops.steps import is_view, scratch_nbytes, step_work
from overspill.planning.alive import Work
from overspill.planning.one_pass import Pass, Peak


@dataclass(frozen=True, slots=True)
class Reading:
    """What a graph tells of the tasks that make some keys.

    Attributes
    ----------
    works
        The tasks in Dask's order, after chunks that are there already.
    passes, peaks
        What the same tasks move and do, and what each needs; without those that are planned elsewhere, and what only
        these take.
    keys
        Of the tasks that are needed.
    unsized
        Tasks whose result is of unknown size, such as a tuple of arrays, and is taken to be as large as the largest of
        their inputs.
    """

    works: list[Work]
    passes: list[Pass]
    peaks: list[Peak]
    keys: Set[Any]
    unsized: int


def read(graph: HighLevelGraph, keys: list[Any], planned: Collection[Any] = ()) -> Reading:
    """What `graph` tells of the tasks that make `keys`, blockwise operations fused as Dask will fuse them.

    The tasks of the keys in `planned` are planned elsewhere, with all that goes into them.
    """
    fused = fuse_roots(optimize_blockwise(graph, keys=keys), keys=keys).cull(keys)
    nodes = _needed(convert_legacy_graph(fused.to_dict()), keys)
    inputs = {key: {target(nodes, other) for other in node.dependencies} for key, node in nodes.items()}
    wanted = {target(nodes, key) for key in keys}
    # What is persisted on a cluster the graph only refers to.
    elsewhere = wanted.union(*inputs.values()) - nodes.keys()
    plain = _needed(convert_legacy_graph(graph.cull(keys).to_dict()), keys)
    extents, guessed = extents_of(graph, plain, elsewhere)
    priorities = order(nodes) if nodes else {}
    ordered = sorted((key for key in nodes if not isinstance(nodes[key], Alias)), key=priorities.__getitem__)
    positions = {key: position for position, key in enumerate((*elsewhere, *ordered))}
    works = [
        Work(
            tuple(positions[other] for other in inputs.get(key, ())),
            extents[key].device_nbytes,
            extents[key].host_nbytes,
            made=not isinstance(nodes.get(key), Task),
            wanted=key in wanted,
        )
        for key in positions
    ]
    apart = _with_inputs(planned, inputs)
    tasks = {key: inputs[key] for key in ordered if isinstance(nodes[key], Task) and key not in apart}
    steps = {key: _steps(plain, key, given) for key, given in tasks.items()}
    return Reading(
        works=works,
        passes=[sum((step_work(plain, extents, step) for step in steps[key]), Pass()) for key in tasks],
        peaks=[_peak(plain, extents, steps[key], given) for key, given in tasks.items()],
        keys=nodes.keys(),
        unsized=len(guessed & nodes.keys()),
    )


def _needed(nodes: Mapping[Any, GraphNode], keys: Iterable[Any]) -> dict[Any, GraphNode]:
    """What of `nodes` it takes to make `keys`: where a layer has as many tasks as are asked for, Dask keeps it all."""
    needed = _with_inputs(keys, {key: node.dependencies for key, node in nodes.items()})
    return {key: node for key, node in nodes.items() if key in needed}  # how they follow each other sways Dask's order


def _with_inputs(keys: Iterable[Any], inputs: Mapping[Any, Collection[Any]]) -> set[Any]:
    """Those of `keys` that `inputs` knows, and all that they are made from, near and far."""
    found: set[Any] = set()
    pending = list(keys)
    while pending:
        key = pending.pop()
        if key in inputs and key not in found:
            found.add(key)
            pending.extend(inputs[key])
    return found


def _steps(nodes: Mapping[Any, GraphNode], key: Any, given: Set[Any]) -> list[Any]:
    """The steps from what is `given` to `key`, each after those that it takes."""
    found: dict[Any, None] = {}
    pending = [key]
    while pending:
        step = pending[-1]
        missing = [
            name
            for other in nodes[step].dependencies
            if (name := target(nodes, other)) in nodes and name not in given and name not in found
        ]
        if missing:
            pending.extend(missing)
        else:
            found.setdefault(pending.pop())
    return list(found)


def _peak(nodes: Mapping[Any, GraphNode], extents: Mapping[Any, Extent], steps: list[Any], given: Set[Any]) -> Peak:
    """Most bytes of one task that takes what is `given` and goes through `steps`: what nobody needs any more goes."""
    in_memory_of: dict[Any, set[Any]] = {}  # a view lies in that of the steps it comes from
    for step in steps:
        node = nodes[step]
        sources = [in_memory_of.get(target(nodes, other), set()) for other in node.dependencies]
        in_memory_of[step] = set().union(*sources) if isinstance(node, Task) and is_view(nodes, node) else {step}
    waiting = Counter(
        owner
        for step in steps
        for other in nodes[step].dependencies
        for owner in in_memory_of.get(target(nodes, other), ())
    )
    waiting.update(in_memory_of[steps[-1]])  # the result stays
    device = sum(extents[key].device_nbytes for key in given)
    host = sum(extents[key].host_nbytes for key in given)
    ends_nbytes = host + extents[steps[-1]].host_nbytes
    device_most, host_most = device, host
    for step in steps:
        if step in in_memory_of[step]:
            device += extents[step].device_nbytes
            host += extents[step].host_nbytes
        device_most = max(device_most, device)
        host_most = max(host_most, host + scratch_nbytes(nodes, extents, step))
        for other in nodes[step].dependencies:
            for owner in in_memory_of.get(target(nodes, other), ()):
                waiting[owner] -= 1
                if not waiting[owner]:
                    device -= extents[owner].device_nbytes
                    host -= extents[owner].host_nbytes
    return Peak(device_most, host_most, max(0, host_most - ends_nbytes))
