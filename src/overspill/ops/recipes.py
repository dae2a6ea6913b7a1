"""How the chunks of an array can be had: already in memory, or made again by whoever needs them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import dask.array as da
from dask._task_spec import DataNode, GraphNode, convert_legacy_graph
from dask.core import flatten
from distributed import Future

from overspill.storage import StoredArray
from overspill.stream.strip import Reread

LONGEST_RECIPE = 8
"""Tasks that may make up the recipe of one chunk. Longer ones are taken for work worth doing once."""

LARGEST_CONSTANT = 64 * 1024
"""Bytes of data that a recipe may carry; more would travel with every task that uses it."""

Graph = Mapping[Any, GraphNode]


def in_memory(x: da.Array) -> bool:
    """Whether the chunks of `x` are there already: persisted, or given as they are."""
    graph = x.dask
    return all(key in graph and _is_value(graph[key]) for key in flatten(x.__dask_keys__()))


def recipes(x: da.Array) -> dict[Any, Reread] | None:
    """For each chunk of `x` how to make it on its own, by key; None where chunks depend on each other or on much.

    Chunks can be made anew when each has a short graph of its own, without results of other computations and without
    large data in it: chunks read from a store, random numbers from a seed, and what is computed blockwise from them.
    """
    keys = list(flatten(x.__dask_keys__()))
    graph = convert_legacy_graph(dict(x.__dask_optimize__(x.dask, keys)))
    made: dict[Any, Reread] = {}
    used: Counter[Any] = Counter()
    for key in keys:
        own = _ancestors(graph, key)
        if own is None:
            return None
        used.update(name for name, node in own.items() if not isinstance(node, DataNode))
        made[key] = Reread(key, own, _kind(own))
    return None if any(count > 1 for count in used.values()) else made


def kind(found: Mapping[Any, Reread]) -> Literal["disk", "recompute"]:
    """What making the chunks mostly is."""
    kinds = Counter(recipe.kind for recipe in found.values())
    return kinds.most_common(1)[0][0]


def _ancestors(graph: Graph, key: Any) -> dict[Any, GraphNode] | None:
    """The part of `graph` that makes `key`; None if it is long, carries much data or needs results from elsewhere."""
    own: dict[Any, GraphNode] = {}
    pending = [key]
    while pending:
        name = pending.pop()
        if name in own:
            continue
        node = graph.get(name)
        if node is None or (_is_value(node) and not _is_small(node)):
            return None
        own[name] = node
        pending.extend(node.dependencies)
        if len(own) > LONGEST_RECIPE:
            return None
    return own


def _is_value(node: Any) -> bool:
    return not isinstance(node, GraphNode | tuple) or isinstance(node, DataNode)


def _is_small(node: Any) -> bool:
    value = node.value if isinstance(node, DataNode) else node
    if isinstance(value, Future):
        return False
    return isinstance(value, StoredArray) or getattr(value, "nbytes", 0) <= LARGEST_CONSTANT


def _kind(own: Graph) -> Literal["disk", "recompute"]:
    return "disk" if any(_mentions_store(node) for node in own.values()) else "recompute"


def _mentions_store(node: Any) -> bool:
    """Whether a store is among the data of `node` or of the tasks fused into it."""
    if isinstance(node, StoredArray):
        return True
    if isinstance(node, DataNode):
        return isinstance(node.value, StoredArray)
    if isinstance(node, GraphNode):
        arguments = [*getattr(node, "args", ()), *getattr(node, "kwargs", {}).values()]
        return any(_mentions_store(argument) for argument in arguments)
    if isinstance(node, Mapping):
        return any(_mentions_store(value) for value in node.values())
    return isinstance(node, list | tuple) and any(_mentions_store(value) for value in node)
