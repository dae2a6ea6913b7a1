"""How the chunks of an array can be had: already in memory, or made again by whoever needs them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import dask.array as da
import numpy as np
from dask._task_spec import DataNode, GraphNode, NestedContainer, Task, convert_legacy_graph
from dask.core import flatten
from dask.order import order
from distributed import Future
from distributed.protocol import pickle

from overspill import backend
from overspill.planning.footprint import CHUNK_COPIES, WIDEST_SOURCE
from overspill.storage import StoredArray
from overspill.stream.strip import Reread

LONGEST_RECIPE = 16
"""Tasks that may make up the recipe of one chunk, before Dask fuses any. Longer ones are taken for work worth doing
once."""

LARGEST_CONSTANT = 64 * 1024
"""Bytes of data that a recipe may carry, in its tasks or in their functions; more would travel with every task that
uses it."""

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
    if any(count > 1 for count in used.values()) or not _travels_light(made[keys[0]].graph):
        return None
    return made


def kind(found: Mapping[Any, Reread]) -> Literal["disk", "recompute"]:
    """What making the chunks mostly is."""
    kinds = Counter(recipe.kind for recipe in found.values())
    return kinds.most_common(1)[0][0]


def making_nbytes(x: da.Array, found: Mapping[Any, Reread]) -> int:
    """Most bytes that exist while a chunk of `x` is made by its recipe, the chunk included.

    An upper bound for functions that need no arrays of their own besides their result: all that is alive at a time in
    the largest recipe, each result as large as the largest chunk, of `x` or made from nothing on the way to it, and of
    elements as wide as any of its inputs, any type that is mentioned, `x` itself and, where more is done than reading,
    float64.
    """
    recipe = max(found.values(), key=lambda recipe: len(recipe.graph))
    tasks = sum(_is_task(part) for node in recipe.graph.values() for part in _parts(node))
    only_read = recipe.kind == "disk" and tasks == 1
    least = x.dtype.itemsize if only_read else max(WIDEST_SOURCE, x.dtype.itemsize)
    per_element = max(CHUNK_COPIES * least, _most_alive(recipe.graph, {}, least))
    parts = (part for recipe in found.values() for node in recipe.graph.values() for part in _parts(node))
    return int(per_element * max(math.prod(x.chunksize), *map(_first_elements, parts)))


def _ancestors(graph: Graph, key: Any) -> dict[Any, GraphNode] | None:
    """The part of `graph` that makes `key`; None if it is long, carries much data or needs results from elsewhere."""
    own: dict[Any, GraphNode] = {}
    pending = [key]
    tasks = nbytes = 0
    while pending:
        name = pending.pop()
        if name in own:
            continue
        node = graph.get(name)
        if node is None:
            return None
        own[name] = node
        pending.extend(node.dependencies)
        for part in _parts(node):
            tasks += _is_task(part)
            nbytes += _data_nbytes(part)
            if isinstance(part, Future) or tasks > LONGEST_RECIPE or nbytes > LARGEST_CONSTANT:
                return None
    return own


def _parts(node: Any) -> Iterator[Any]:
    """`node` and all it is made of, however deep Dask has fused it: tasks, containers, data."""
    pending = [node]
    while pending:
        part = pending.pop()
        yield part
        if isinstance(part, DataNode):
            pending.append(part.value)
        elif isinstance(part, Task):
            pending.extend(part.args)
            pending.extend(part.kwargs.values())
        elif isinstance(part, Mapping):
            pending.extend(part.values())
        elif isinstance(part, list | tuple):
            pending.extend(part)


def _is_task(part: Any) -> bool:
    """Whether `part` does something itself, rather than hold other tasks."""
    return isinstance(part, Task) and not isinstance(part, NestedContainer) and not part.has_subgraph()


def _first_elements(part: Any) -> int:
    """Elements of what a task without inputs makes, such as random numbers: the shape is among its arguments."""
    if not isinstance(part, Task) or part.dependencies:
        return 0
    arguments = (x.value if isinstance(x, DataNode) else x for x in part.args)
    shapes = (x for x in arguments if isinstance(x, tuple) and all(isinstance(size, int) for size in x))
    return max(map(math.prod, shapes), default=0)


def _data_nbytes(part: Any) -> int:
    if isinstance(part, np.ndarray) or backend.is_device_array(part):
        return int(part.nbytes)
    return len(part) if isinstance(part, str | bytes | bytearray) else 8


def _travels_light(graph: Graph) -> bool:
    """Whether `graph` can be pickled, and carries no more data than it may, what its functions enclose included."""
    try:
        return bool(len(pickle.dumps(graph)) <= LARGEST_CONSTANT)
    except Exception:  # whatever the user's objects raise
        return False


def _most_alive(graph: Graph, inputs: Mapping[Any, int], least: int) -> int:
    """Most bytes per element of all results at a time, when Dask runs `graph` in its order.

    `inputs` are the bytes per element of results from outside, which are counted there.
    """
    priorities = order({name: DataNode(name, None) for name in inputs} | dict(graph))
    waiting = Counter(name for node in graph.values() for name in node.dependencies)
    width = dict(inputs)
    alive = most = 0
    for name in sorted(graph, key=priorities.__getitem__):
        node = graph[name]
        inherited = max([least, *(width[other] for other in node.dependencies)])
        width[name] = max([inherited, *map(_itemsize, _parts(node))])
        if isinstance(node, Task) and node.has_subgraph():
            inner, _, names, *values = node.args
            # Constants are given as they are, everything else by the name of its result.
            given = [max(map(_itemsize, _parts(x))) if isinstance(x, DataNode) else inherited for x in values]
            most = max(most, alive + _most_alive(inner, dict(zip(names, given, strict=True)), least))
        alive += width[name] if not isinstance(node, DataNode) else 0
        most = max(most, alive)
        for other in node.dependencies:
            waiting[other] -= 1
            if waiting[other] == 0 and other in graph and not isinstance(graph[other], DataNode):
                alive -= width[other]
    return most


def _itemsize(part: Any) -> int:
    """Bytes of an element of the type that `part` is or has; 0 where it has none."""
    dtype = getattr(part, "dtype", part)
    if isinstance(dtype, np.dtype):
        return int(dtype.itemsize)
    return 16 if isinstance(part, complex) else 0


def _is_value(node: Any) -> bool:
    return not isinstance(node, GraphNode | tuple) or isinstance(node, DataNode)


def _kind(own: Graph) -> Literal["disk", "recompute"]:
    stored = any(isinstance(part, StoredArray) for node in own.values() for part in _parts(node))
    return "disk" if stored else "recompute"
