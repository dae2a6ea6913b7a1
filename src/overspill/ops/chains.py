"""Chains of steps that Dask runs as one task, and the memory that such a task needs."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dask._task_spec import GraphNode, Task

from overspill.ops.chunks import Extent, target
from overspill.ops.steps import device_scratch_nbytes, is_view, scratch_nbytes
from overspill.planning.one_pass import Peak


@dataclass(frozen=True, slots=True)
class Chain:
    """What one task does: by keys, the results that it is given, and its steps, each after those that it takes."""

    given: frozenset[Any]
    steps: tuple[Any, ...]


def chain_to(nodes: Mapping[Any, GraphNode], key: Any, ends: Collection[Any]) -> Chain:
    """The chain that ends in `key`, where other chains end in `ends`."""
    given: set[Any] = set()
    steps: dict[Any, None] = {}
    pending = [key]
    while pending:
        step = pending[-1]
        before = {target(nodes, other) for other in nodes[step].dependencies}
        outside = {name for name in before if name in ends or name not in nodes}
        given |= outside
        if missing := before - outside - steps.keys():
            pending.extend(missing)
        else:
            steps.setdefault(pending.pop())
    return Chain(frozenset(given), tuple(steps))


def chain_peak(nodes: Mapping[Any, GraphNode], extents: Mapping[Any, Extent], chain: Chain) -> Peak:
    """Most bytes of `chain` at a time: what it is given stays, and of what it makes what is still to be used."""
    owners = _owners(nodes, chain)
    takes = {
        step: [owner for other in nodes[step].dependencies for owner in owners.get(target(nodes, other), ())]
        for step in chain.steps
    }
    result = chain.steps[-1]
    waiting = Counter(owner for taken in takes.values() for owner in taken)
    waiting.update(owners[result])  # which stays
    device = sum(extents[key].device_nbytes for key in chain.given)
    host = sum(extents[key].host_nbytes for key in chain.given)
    at_ends = host + extents[result].host_nbytes
    device_most, host_most = device, host
    for step in chain.steps:
        if step in owners[step]:
            device += extents[step].device_nbytes
            host += extents[step].host_nbytes
        device_most = max(device_most, device + device_scratch_nbytes(nodes, extents, step))
        host_most = max(host_most, host + scratch_nbytes(nodes, extents, step))
        for owner in takes[step]:
            waiting[owner] -= 1
            if not waiting[owner]:
                device -= extents[owner].device_nbytes
                host -= extents[owner].host_nbytes
    return Peak(device_most, host_most, max(0, host_most - at_ends))


def _owners(nodes: Mapping[Any, GraphNode], chain: Chain) -> dict[Any, set[Any]]:
    """By step, the steps in whose memory its result lies: its own, or for views those of what it takes."""
    owners: dict[Any, set[Any]] = {}
    for step in chain.steps:
        node = nodes[step]
        if isinstance(node, Task) and is_view(nodes, node):
            owners[step] = set().union(*(owners.get(target(nodes, other), ()) for other in node.dependencies))
        else:
            owners[step] = {step}
    return owners
