"""The results that the tasks of a graph make: how large, where they live, and who takes them, read off the graph."""

import math
import operator
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, convert_legacy_graph
from dask.array import chunk
from dask.array._shuffle import _getitem as take_one
from dask.blockwise import Blockwise, fuse_roots, optimize_blockwise
from dask.highlevelgraph import HighLevelGraph, Layer
from dask.order import order

from overspill import backend
from overspill.planning.alive import Work

GETTERS = (operator.getitem, chunk.getitem)
"""Functions that take a part of an array, given the array and an index."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A task's result: its bytes by residence, and its shape, where it is an array of known shape."""

    device_nbytes: int
    host_nbytes: int
    shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, shape: tuple[int, ...], itemsize: int, *, on_device: bool) -> Self:
        """An array's extent."""
        nbytes = math.prod(shape) * itemsize
        return cls(nbytes, 0, shape) if on_device else cls(0, nbytes, shape)


@dataclass(frozen=True, slots=True)
class _Array:
    """What the graph tells of a layer that is an array: its chunks, bytes of an element, and where they live."""

    chunks: tuple[tuple[int, ...], ...]
    itemsize: int
    on_device: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What a graph tells of the tasks that make some keys.

    Attributes
    ----------
    works
        The tasks in Dask's order, after chunks that are there already.
    keys
        Of the tasks that are needed.
    unsized
        Tasks whose result is of unknown size, such as a tuple of arrays, and is taken to be as large as the largest of
        their inputs.
    """

    works: list[Work]
    keys: Set[Any]
    unsized: int


def read(graph: HighLevelGraph, keys: list[Any]) -> Reading:
    """What `graph` tells of the tasks that make `keys`, blockwise operations fused as Dask will fuse them."""
    fused = fuse_roots(optimize_blockwise(graph, keys=keys), keys=keys).cull(keys)
    nodes = _needed(convert_legacy_graph(dict(fused)), keys)
    inputs = {key: {_target(nodes, other) for other in node.dependencies} for key, node in nodes.items()}
    wanted = {_target(nodes, key) for key in keys}
    # What is persisted on a cluster the graph only refers to.
    elsewhere = wanted.union(*inputs.values()) - nodes.keys()
    extents, unsized = _extents(_arrays(graph), nodes, inputs, elsewhere)
    positions = {key: position for position, key in enumerate(extents)}
    works = [
        Work(
            tuple(positions[other] for other in inputs.get(key, ())),
            extent.device_nbytes,
            extent.host_nbytes,
            made=not isinstance(nodes.get(key), Task),
            wanted=key in wanted,
        )
        for key, extent in extents.items()
    ]
    return Reading(works, nodes.keys(), unsized)


def _needed(nodes: Mapping[Any, GraphNode], keys: list[Any]) -> dict[Any, GraphNode]:
    """What of `nodes` it takes to make `keys`: where a layer has as many tasks as are asked for, Dask keeps it all."""
    needed: set[Any] = set()
    pending = list(keys)
    while pending:
        key = pending.pop()
        if key in nodes and key not in needed:
            needed.add(key)
            pending.extend(nodes[key].dependencies)
    return {key: node for key, node in nodes.items() if key in needed}  # how they follow each other sways Dask's order


def _extents(
    arrays: Mapping[str, _Array], nodes: Mapping[Any, GraphNode], inputs: Mapping[Any, set[Any]], elsewhere: set[Any]
) -> tuple[dict[Any, Extent], int]:
    """The extents of all results, those from `elsewhere` first, then in Dask's order, and how many are guessed."""
    priorities = order(nodes) if nodes else {}
    ordered = sorted((key for key in nodes if not isinstance(nodes[key], Alias)), key=priorities.__getitem__)
    extents: dict[Any, Extent] = {}
    unsized = 0
    for key in (*elsewhere, *ordered):
        node = nodes.get(key)
        extent = _named(arrays, key) or (_part(nodes, extents, node) if isinstance(node, Task) else _value(node))
        if extent is None:
            unsized += 1
            extent = _largest(extents[other] for other in inputs[key])
        extents[key] = extent
    return extents, unsized


def _arrays(graph: HighLevelGraph) -> dict[str, _Array]:
    found = {}
    for name, layer in graph.layers.items():
        told = layer.collection_annotations or {}
        sized = "chunk_type" in told and not told["dtype"].hasobject  # of objects nobody knows the size
        if sized and not any(math.isnan(size) for axis in told["chunks"] for size in axis):
            on_device = told["chunk_type"].startswith("cupy")  # cupyx's sparse matrices too
            reduced = _reduced_axes(layer)
            chunks = tuple((1,) * len(axis) if i in reduced else axis for i, axis in enumerate(told["chunks"]))
            found[name] = _Array(chunks, told["dtype"].itemsize, on_device)
    return found


def _reduced_axes(layer: Layer) -> tuple[int, ...]:
    """Axes of which each chunk keeps one element: Dask notes the chunks of a reduction's first step as they were."""
    task = layer.task if isinstance(layer, Blockwise) else None
    kwargs = task.kwargs if isinstance(task, Task) else {}
    axis = kwargs.get("axis")
    return axis if kwargs.get("keepdims") is True and isinstance(axis, tuple) else ()


def _target(nodes: Mapping[Any, GraphNode], key: Any) -> Any:
    """The key whose result `key` is another name of; itself, if it is none."""
    while isinstance(node := nodes.get(key), Alias):
        key = node.target
    return key


def _referred(argument: TaskRef | Alias) -> Any:
    return argument.target if isinstance(argument, Alias) else argument.key


def _named(arrays: Mapping[str, _Array], key: Any) -> Extent | None:
    """The extent of a chunk of an array, by its key."""
    array = arrays.get(key[0]) if isinstance(key, tuple) else None
    if array is None or len(key) != len(array.chunks) + 1:
        return None
    shape = tuple(int(sizes[index]) for sizes, index in zip(array.chunks, key[1:], strict=True))
    return Extent.of(shape, array.itemsize, on_device=array.on_device)


def _value(node: GraphNode | None) -> Extent:
    """The extent of what the graph carries itself."""
    value: Any = node.value if isinstance(node, DataNode) else None
    if isinstance(value, np.ndarray) or backend.is_device_array(value):
        return Extent.of(value.shape, value.dtype.itemsize, on_device=backend.is_device_array(value))
    return Extent(0, 0)


def _part(nodes: Mapping[Any, GraphNode], extents: Mapping[Any, Extent], task: Task) -> Extent | None:
    """The extent of a part taken of a result whose shape is known; None for other tasks."""
    if task.func not in (*GETTERS, take_one) or not isinstance(task.args[0], TaskRef | Alias):
        return None
    whole = extents[_target(nodes, _referred(task.args[0]))]
    index = task.args[1]
    if isinstance(index, TaskRef | Alias):
        index = getattr(nodes.get(_target(nodes, _referred(index))), "value", None)
    if task.func is take_one:  # what it takes is (axis, index)
        index = index[1] if isinstance(index, tuple) else None
    shape = None if whole.shape is None else indexed_shape(whole.shape, index)
    if whole.shape is None or shape is None or not math.prod(whole.shape):
        return None
    nbytes = whole.device_nbytes + whole.host_nbytes
    return Extent.of(shape, nbytes // math.prod(whole.shape), on_device=bool(whole.device_nbytes))


def indexed_shape(shape: tuple[int, ...], index: Any) -> tuple[int, ...] | None:
    """The shape of an array of `shape` at `index`: of slices and integers, or slices and one list of positions.

    None for other indices.

    Examples
    --------
    >>> indexed_shape((10, 20, 30), (slice(2, 8, 3), 5)), indexed_shape((4,), None)
    ((2, 30), None)
    """
    given = index if isinstance(index, tuple) else (index,)
    lists = sum(isinstance(part, np.ndarray | list) for part in given)
    slices = sum(isinstance(part, slice) for part in given)
    if len(given) > len(shape) or lists > 1 or (lists and lists + slices < len(given)):
        return None
    sizes: list[int] = []
    for size, part in zip(shape, given, strict=False):
        if isinstance(part, slice):
            sizes.append(len(range(*part.indices(size))))
        elif isinstance(part, np.ndarray | list):
            positions = np.asarray(part)
            if positions.ndim != 1 or positions.dtype.kind not in "iub":
                return None
            sizes.append(int(np.count_nonzero(positions)) if positions.dtype.kind == "b" else len(positions))
        elif isinstance(part, bool) or not isinstance(part, int | np.integer):
            return None
    return (*sizes, *shape[len(given) :])


def _largest(extents: Iterable[Extent]) -> Extent:
    found = max(extents, key=lambda extent: extent.device_nbytes + extent.host_nbytes, default=Extent(0, 0))
    return Extent(found.device_nbytes, found.host_nbytes)
