"""Rechunking and transposing: each chunk of the result is copied straight from the chunks that hold its elements."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Alias, GraphNode, List, Task, TaskRef
from dask.array.core import normalize_chunks
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from overspill import backend, memory
from overspill.errors import ArrayError, DTypeError
from overspill.memory import link
from overspill.memory.copying import copy
from overspill.ops.residence import TILE_NAME, holds_tiles
from overspill.planning.relayout import Chunks, Target, targets


class RelayoutLayer(MaterializedLayer):
    """The tasks that copy chunks of one array into those of another, and what they copy.

    Parameters
    ----------
    mapping
        The tasks.
    source
        Name of the array that is copied.
    chunks
        How it is cut.
    axes
        For each axis of the result, which one of the source it is.
    """

    def __init__(self, mapping: dict[Any, Any], source: str, chunks: Chunks, axes: tuple[int, ...]) -> None:
        super().__init__(mapping)
        self.source = source
        self.chunks = chunks
        self.axes = axes


def rechunk(x: da.Array, chunks: Any = "auto") -> da.Array:
    """`x` cut into other chunks, each made by one task that copies what it needs straight from the chunks of `x`.

    Chunks in host memory are tiles, which processes of one host read where they lie: from 64 KiB up none goes through a
    socket. A task has all chunks that its own one overlaps in memory at a time.

    Parameters
    ----------
    x
        Array of any shape, and of any element type but Python objects.
    chunks
        As `dask.array.rechunk` takes them: a size for all axes, a size or sizes for each, a mapping from axes; -1 for a
        whole axis, None for one that stays as it is, ``"auto"`` or a number of bytes like ``"64MiB"``.

    Returns
    -------
    dask.array.Array
        Lazy, its chunks tiles, or on GPUs if those of `x` are; `x` itself where nothing changes.

    Raises
    ------
    ArrayError
        Chunks that do not cut `x`, chunks of `x` of unknown size, or that are neither NumPy's nor CuPy's.
    DTypeError
        Arrays of Python objects.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.rechunk(da.ones((4, 6), chunks=(1, 6)), (-1, 2)).chunks
    ((4,), (2, 2, 2))
    """
    _check(x, "rechunk")
    cut = _cut(x, chunks)
    return x if cut == x.chunks else _relayout(x, cut, tuple(range(x.ndim)))


def transpose(x: da.Array, axes: Sequence[int] | None = None) -> da.Array:
    """`x` with its axes in another order, each chunk in C order, so that tasks and GPUs read it along its rows.

    For one that is only looked through once, as in ``x + x.T``, Dask's own transpose costs less: it copies nothing.

    Parameters
    ----------
    x
        Array of any shape, and of any element type but Python objects.
    axes
        For each axis of the result, which one of `x` it is; the reverse order unless given.

    Returns
    -------
    dask.array.Array
        Lazy, its chunks tiles, or on GPUs if those of `x` are; `x` itself where nothing changes.

    Raises
    ------
    ArrayError
        Axes that are no order of those of `x`, chunks of unknown size, or that are neither NumPy's nor CuPy's.
    DTypeError
        Arrays of Python objects.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.transpose(da.arange(6, chunks=3).reshape(2, 3)).compute()
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    _check(x, "transpose")
    given = tuple(range(x.ndim))
    try:
        order = given[::-1] if axes is None else normalize_axis_tuple(axes, x.ndim)
    except (TypeError, ValueError):
        order = ()
    if sorted(order) != list(given):
        raise ArrayError(f"axes={axes!r} is no order of the {x.ndim} axes of x: name each of them once")
    return x if order == given else _relayout(x, tuple(x.chunks[axis] for axis in order), order)


def _check(x: da.Array, name: str) -> None:
    if not (type(x._meta) is np.ndarray or backend.is_device_array(x._meta)):
        raise ArrayError(
            f"{name} takes chunks of numpy.ndarray or cupy.ndarray, not of {type(x._meta).__name__}: convert them with "
            f"x.map_blocks() first"
        )
    if x.dtype.hasobject:
        raise DTypeError(f"{name} cannot share elements of type {x.dtype} between processes: cast with x.astype()")
    if any(math.isnan(size) for sizes in x.chunks for size in sizes):
        raise ArrayError(f"{name} cannot cut chunks of unknown size: call x.compute_chunk_sizes() first")


def _cut(x: da.Array, chunks: Any) -> Chunks:
    """Sizes of the chunks, as `dask.array.rechunk` understands them."""
    asked = chunks
    try:
        if isinstance(asked, Mapping):
            named = {normalize_axis_index(axis, x.ndim): sizes for axis, sizes in asked.items()}
            asked = tuple(named.get(axis) for axis in range(x.ndim))
        if isinstance(asked, tuple | list):
            asked = tuple(x.chunks[axis] if sizes is None else sizes for axis, sizes in enumerate(asked))
        cut: Chunks = normalize_chunks(asked, x.shape, dtype=x.dtype, previous_chunks=x.chunks)
        if any(size < 0 for sizes in cut for size in sizes):
            raise ValueError("sizes must not be negative")
    except (ValueError, TypeError, NotImplementedError) as error:
        reason, *_ = str(error).partition("\n")
        raise ArrayError(f"chunks={chunks!r} cannot cut an array of shape {x.shape}: {reason}") from None
    return cut


def _relayout(x: da.Array, chunks: Chunks, axes: tuple[int, ...]) -> da.Array:
    """`x` with its axes in the order `axes`, cut into `chunks`."""
    x, axes = _origin(x, axes)
    residence = backend.residence_of(x._meta)
    if residence == "host":
        prefix, assemble = TILE_NAME, _into_tile
        if not holds_tiles(x):
            x = da.map_blocks(_shared, x, dtype=x.dtype, meta=x._meta, name=f"overspill-shared-{tokenize(x.name)}")
    else:
        prefix, assemble = "overspill", _on_device
    name = f"{prefix}-relayout-{tokenize(x.name, chunks, axes)}"
    mapping: dict[Any, GraphNode] = {}
    for index, target in targets(x.chunks, chunks, axes):
        key: Any = (name, *index)
        sources: list[Any] = [(x.name, *part.chunk) for part in target.parts()]
        if target.is_whole(x.chunks):
            mapping[key] = Alias(key, sources[0])
        else:
            mapping[key] = Task(key, assemble, target, x.dtype, List(*map(TaskRef, sources)))
    layer = RelayoutLayer(mapping, x.name, x.chunks, axes)
    dependencies: list[Any] = [x]
    graph = HighLevelGraph.from_collections(name, layer, dependencies=dependencies)
    y: da.Array = da.Array(graph, name, chunks, meta=backend.meta(residence, x.dtype, len(chunks)), dtype=x.dtype)
    return y


def _origin(x: da.Array, axes: tuple[int, ...]) -> tuple[da.Array, tuple[int, ...]]:
    """What to copy instead of `x`, which may be a mere copy itself, and the order of axes that it takes then."""
    layer = x.dask.layers.get(x.name)
    if not isinstance(layer, RelayoutLayer):
        return x, axes
    meta = backend.meta(backend.residence_of(x._meta), x.dtype, x.ndim)
    source = da.Array(x.dask, layer.source, layer.chunks, meta=meta, dtype=x.dtype)
    return source, tuple(layer.axes[axis] for axis in axes)


def _shared(chunk: Any) -> np.ndarray[Any, Any]:
    """The chunk where other processes of the host can read it, in whatever order its elements lie."""
    return chunk if memory.is_tile(chunk) else memory.as_tile(backend.to_numpy(chunk))


def _into_tile(target: Target, dtype: np.dtype[Any], chunks: Sequence[Any]) -> Any:
    """A chunk of the result, made of those of the source in the order of `target.parts()`."""
    tile = memory.empty(target.shape, dtype)
    for part, chunk in zip(target.parts(), chunks, strict=True):
        copy(tile[part.target], chunk[part.source].transpose(target.axes))
    return tile


def _on_device(target: Target, dtype: np.dtype[Any], chunks: Sequence[Any]) -> Any:
    """The same on the worker's GPU."""
    xp = backend.array_namespace(backend.meta("device", dtype, ndim=0))
    whole = xp.empty(target.shape, dtype)
    for part, chunk in zip(target.parts(), chunks, strict=True):
        whole[part.target] = link.to_device(chunk[part.source]).transpose(target.axes)
    return whole
