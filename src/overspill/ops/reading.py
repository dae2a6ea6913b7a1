"""What a graph tells of the tasks that Dask will run: what they make, move, do and need."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from dask._task_spec import Alias, GraphNode, Task, convert_legacy_graph, fuse_linear_task_spec
from dask.blockwise import fuse_roots, optimize_blockwise
from dask.highlevelgraph import HighLevelGraph
from dask.order import order

from overspill.ops.chains import chain_peak, chain_to
from overspill.ops.chunks import extents_of, target
from overspill.ops.steps import step_work
from overspill.planning.alive import Work
from overspill.planning.one_pass import Pass, Peak

FEW_INPUTS = 5
"""Tasks of a group whose inputs, all together, are fewer count as roots to Dask's scheduler, unless configured."""


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
    held_back = _held_back({key: inputs.get(key, set()) for key in positions})
    works = [
        Work(
            tuple(positions[other] for other in inputs.get(key, ())),
            extents[key].device_nbytes,
            extents[key].host_nbytes,
            made=not isinstance(nodes.get(key), Task),
            wanted=key in wanted,
            held_back=key in held_back,
        )
        for key in positions
    ]
    apart = _with_inputs(planned, inputs)
    ends = nodes.keys() & fuse_linear_task_spec(nodes, keys).keys()  # other tasks have no user but the next
    last = [key for key in ordered if key in ends and key not in apart and isinstance(nodes[key], Task)]
    known = ends | apart
    chains = [chain_to(plain, key, known) for key in last]
    return Reading(
        works=works,
        passes=[sum((step_work(plain, extents, step) for step in chain.steps), Pass()) for chain in chains],
        peaks=[chain_peak(plain, extents, chain) for chain in chains],
        keys=nodes.keys(),
        unsized=len(guessed & nodes.keys()),
    )


def _held_back(inputs: Mapping[Any, Set[Any]]) -> set[Any]:
    """The keys that Dask's scheduler holds back, by what each takes: those of groups that depend on next to nothing.

    The rule is that of `distributed.scheduler.SchedulerState.is_rootish`, which exempts groups too small to matter.
    """
    sizes = Counter(map(_group, inputs))
    before: dict[Any, set[Any]] = defaultdict(set)
    for key, taken in inputs.items():
        before[_group(key)].update(map(_group, taken))
    return {key for key in inputs if sum(sizes[group] for group in before[_group(key)]) < FEW_INPUTS}


def _group(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) else key


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
