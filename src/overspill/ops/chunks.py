"""The results that the tasks of a graph make: how large, of what type, and where they live, read off the graph."""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Self

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef
from dask.array import chunk
from dask.array._shuffle import _getitem as take_one
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer

from overspill import backend
from overspill.ops.block_products import SparseProductLayer, planned_in
from overspill.ops.fusion import Fused, Plain

GETTERS = (operator.getitem, chunk.getitem)
"""Functions that take a part of an array, given the array and an index."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A task's result: its bytes by residence; its shape and element type, where it is an array of known shape."""

    device_nbytes: int
    host_nbytes: int
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: np.dtype[Any], *, on_device: bool) -> Self:
        """An array's extent."""
        nbytes = math.prod(shape) * dtype.itemsize
        return cls(nbytes, 0, shape, dtype) if on_device else cls(0, nbytes, shape, dtype)

    @property
    def nbytes(self) -> int:
        """Its bytes of either residence."""
        return self.device_nbytes + self.host_nbytes


@dataclass(frozen=True, slots=True)
class _Array:
    """What the graph tells of a layer that is an array: its chunks, their element type, and where they live."""

    chunks: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]
    on_device: bool


def extents_of(
    graph: HighLevelGraph, nodes: Mapping[Any, GraphNode], elsewhere: Iterable[Any]
) -> tuple[dict[Any, Extent], set[Any]]:
    """The extents of all results of `nodes`, and of what they take from `elsewhere`; and which ones are guessed.

    A result of which `graph` does not tell, such as a tuple of arrays, is taken to be as large as the largest input.
    """
    arrays, blocks = _arrays(graph), _of_sparse(graph)
    extents = {key: _named(arrays, key) or blocks.get(key) or Extent(0, 0) for key in elsewhere}
    guessed = set()
    for key in TopologicalSorter({key: node.dependencies for key, node in nodes.items()}).static_order():
        node = nodes.get(key)
        if node is None or isinstance(node, Alias):
            continue
        extent = (
            _named(arrays, key)
            or blocks.get(key)
            or (_derived(nodes, extents, node) if isinstance(node, Task) else _value(node))
        )
        if extent is None:
            guessed.add(key)
            extent = _largest(extents[target(nodes, other)] for other in node.dependencies)
        extents[key] = extent
    return extents, guessed


def _arrays(graph: HighLevelGraph) -> dict[str, _Array]:
    found = {}
    for name, layer in graph.layers.items():
        told = layer.collection_annotations or {}
        sized = "chunk_type" in told and not told["dtype"].hasobject  # of objects nobody knows the size
        if sized and not any(math.isnan(size) for axis in told["chunks"] for size in axis):
            on_device = told["chunk_type"].startswith("cupy")  # cupyx's sparse matrices too
            reduced = _reduced_axes(layer)
            chunks = tuple((1,) * len(axis) if i in reduced else axis for i, axis in enumerate(told["chunks"]))
            found[name] = _Array(chunks, told["dtype"], on_device)
    return found


def _of_sparse(graph: HighLevelGraph) -> dict[Any, Extent]:
    """The row blocks of sparse matrices whose entries are counted, and what they are multiplied to, by key."""
    found = {}
    for name, layer in graph.layers.items():
        told = layer.collection_annotations or {}
        for i, nbytes in enumerate(told.get("row_blocks_nbytes", ())):
            if nbytes is not None:
                found[name, i] = Extent(nbytes, 0) if told["on_device"] else Extent(0, nbytes)
        if isinstance(layer, SparseProductLayer):
            for key, task in layer.mapping.items():
                if (planned := planned_in(task)) is not None:
                    shape = planned.writes, *planned.trailing
                    dtype = np.dtype(f"{planned.kind}{planned.itemsize}")
                    found[key] = Extent.of(shape, dtype, on_device=layer.residence == "device")
    return found


def _reduced_axes(layer: Layer) -> tuple[int, ...]:
    """Axes of which each chunk keeps one element: Dask notes the chunks of a reduction's first step as they were."""
    task = layer.task if isinstance(layer, Blockwise) else None
    kwargs = task.kwargs if isinstance(task, Task) else {}
    axis = kwargs.get("axis")
    return axis if kwargs.get("keepdims") is True and isinstance(axis, tuple) else ()


def target(nodes: Mapping[Any, GraphNode], key: Any) -> Any:
    """The key whose result `key` is another name of; itself, if it is none."""
    while isinstance(node := nodes.get(key), Alias):
        key = node.target
    return key


def referred(argument: TaskRef | Alias) -> Any:
    """The key that an argument of a task stands for."""
    return argument.target if isinstance(argument, Alias) else argument.key


def _named(arrays: Mapping[str, _Array], key: Any) -> Extent | None:
    """The extent of a chunk of an array, by its key."""
    array = arrays.get(key[0]) if isinstance(key, tuple) else None
    if array is None or len(key) != len(array.chunks) + 1:
        return None
    shape = tuple(int(sizes[index]) for sizes, index in zip(array.chunks, key[1:], strict=True))
    return Extent.of(shape, array.dtype, on_device=array.on_device)


def _value(node: GraphNode | None) -> Extent:
    """The extent of what the graph carries itself."""
    value: Any = node.value if isinstance(node, DataNode) else None
    if in_memory(value):
        return Extent.of(value.shape, value.dtype, on_device=backend.is_device_array(value))
    return Extent(0, 0)


def in_memory(value: Any) -> bool:
    """Whether `value` is an array in host or device memory, and no mere map of a file."""
    return (isinstance(value, np.ndarray) and not isinstance(value, np.memmap)) or backend.is_device_array(value)


def _derived(nodes: Mapping[Any, GraphNode], extents: Mapping[Any, Extent], task: Task) -> Extent | None:
    """The extent of a result that follows from those of the task's inputs; None where it does not."""
    if isinstance(task.func, Fused | Plain):
        return _together(task.func, [extents[target(nodes, other)] for other in task.dependencies])
    if task.func not in (*GETTERS, take_one) or not isinstance(task.args[0], TaskRef | Alias):
        return None
    whole = extents[target(nodes, referred(task.args[0]))]
    index = task.args[1]
    if isinstance(index, TaskRef | Alias):
        index = getattr(nodes.get(target(nodes, referred(index))), "value", None)
    if task.func is take_one:  # what it takes is (axis, index)
        index = index[1] if isinstance(index, tuple) else None
    shape = None if whole.shape is None else indexed_shape(whole.shape, index)
    if shape is None or whole.dtype is None:
        return None
    return Extent.of(shape, whole.dtype, on_device=bool(whole.device_nbytes))


def _together(function: Fused | Plain, inputs: Sequence[Extent]) -> Extent | None:
    """The extent of all results of an elementwise function, in a tuple."""
    shapes = [extent.shape for extent in inputs if extent.shape is not None]
    if len(shapes) < len(inputs):
        return None
    nbytes = math.prod(np.broadcast_shapes(*shapes)) * sum(dtype.itemsize for dtype in function.dtypes)
    return Extent(nbytes, 0) if any(extent.device_nbytes for extent in inputs) else Extent(0, nbytes)


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
    found = max(extents, key=lambda extent: extent.nbytes, default=Extent(0, 0))
    return Extent(found.device_nbytes, found.host_nbytes)
