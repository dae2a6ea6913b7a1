"""The matrix product of Dask arrays that fit neither on a GPU nor in one process."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill import backend, machine
from overspill.errors import ClusterError, UsageError
from overspill.ops.arguments import as_array, check_matrices, common_dtype, tile_sizes
from overspill.ops.recipes import in_memory, kind, making_nbytes, recipes
from overspill.ops.residence import holds_tiles, to_host
from overspill.planning.grid import cover, intervals
from overspill.planning.matmul import plan_matmul
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.operands import Operand
from overspill.planning.placement import PRODUCT_NAME, beginnings
from overspill.planning.resources import Resources
from overspill.stream.device import TileShape
from overspill.stream.product import TileTask, multiply_tile
from overspill.stream.strip import Reread
from overspill.units import parse_nbytes


class ProductLayer(MaterializedLayer):
    """The tasks of one product, the plan that they follow, and a name of what they compute, whatever the plan."""

    def __init__(self, mapping: dict[Any, Any], plan: MatmulPlan, computation: str) -> None:
        super().__init__(mapping)
        self.plan = plan
        self.computation = computation


def matmul(
    a: Any,
    b: Any,
    *,
    residence: Literal["auto", "host", "device"] = "auto",
    memory: str | int | None = None,
    device_memory: str | int | None = None,
    chunks: int | tuple[int | tuple[int, ...], int | tuple[int, ...]] | None = None,
) -> da.Array:
    """Matrix product ``a @ b``, planned now and computed later, tile by tile.

    Each task makes one tile of the result: it streams the row of `a` and the column of `b` through its worker's device
    and accumulates in place. Operands that do not fit the tile budget together are not held in memory; the tasks read
    or recompute the chunks that they need. A chunk may then be made several times, so what makes it must give the same
    each time, as Dask asks of every task.

    Parameters
    ----------
    a, b
        Arrays of shapes (m, k) and (k, n), or (k,) on either side: Dask arrays of any chunks, or what
        `dask.array.asarray` takes. Element types float16 (accumulated in float32), float32, float64, complex64,
        complex128, integers and booleans (exact, wrapping as NumPy does); mixed types are promoted as NumPy does.
    residence
        Where the result's chunks live: ``"host"``, ``"device"``, or ``"auto"``, which is where the operands live.
    memory
        Byte budget for tiles and buffers over all workers, as a number or like ``"48MiB"``; the cluster's unless given.
    device_memory
        Byte budget on each GPU; the cluster's unless given.
    chunks
        Tile sizes of the result along both axes, chosen by the plan unless given.

    Returns
    -------
    dask.array.Array
        Lazy, of shape (m, n), less the axis that a vector lacks. `overspill.plan` tells how it will be made.

    Raises
    ------
    ArrayError
        Shapes that do not match, operands that are not 1-D or 2-D, unknown chunk sizes, `chunks` that do not fit.
    DTypeError
        Element types that cannot be multiplied.
    MemoryBudgetError
        If no tiling fits the budgets.
    ClusterError
        If the result is to live on a GPU and there is none.
    UsageError
        A residence that does not exist, a budget that is no size.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> a = da.ones((300, 200), chunks=100)
    >>> osp.matmul(a, a.T).sum().compute()
    np.float64(18000000.0)
    """
    if residence not in ("auto", "host", "device"):
        raise UsageError(f"residence={residence!r} is none of 'auto', 'host' and 'device': pass one of them")
    a, b = as_array(a), as_array(b)
    dtype = common_dtype(a, b)
    check_matrices(a, b)
    on_device = "device" in (residence, backend.residence_of(a._meta), backend.residence_of(b._meta))
    resources = _resources(memory, device_memory, on_device=on_device)
    if residence == "auto":
        residence = "device" if on_device else "host"
    a2, b2 = a.astype(dtype), b.astype(dtype)
    product = _matmul_2d(
        a2[None, :] if a.ndim == 1 else a2,
        b2[:, None] if b.ndim == 1 else b2,
        dtype,
        residence,
        resources,
        chunks,
    )
    if a.ndim == b.ndim == 2:
        return product
    vector: da.Array = product[0 if a.ndim == 1 else slice(None), 0 if b.ndim == 1 else slice(None)]
    return vector


def _resources(memory: str | int | None, device_memory: str | int | None, *, on_device: bool) -> Resources:
    resources = machine.current_resources()
    if on_device and resources.device == "cpu":
        if not backend.gpus():
            raise ClusterError("residence 'device' needs a GPU and there is none here: use residence='host'")
        resources = machine.resources("cuda", workers=1, threads=1)
    if memory is not None:
        resources = replace(resources, pool_nbytes=parse_nbytes(memory))
    if device_memory is not None:
        resources = replace(resources, device_nbytes=parse_nbytes(device_memory))
    return resources


@dataclass(frozen=True, slots=True)
class _Source:
    """An operand, and how its chunks reach the tasks."""

    array: da.Array
    operand: Operand
    recipes: dict[Any, Reread] | None


def _matmul_2d(
    a: da.Array,
    b: da.Array,
    dtype: np.dtype[Any],
    residence: Literal["host", "device"],
    resources: Resources,
    chunks: Any,
) -> da.Array:
    shape = a.shape[0], b.shape[1]
    tiles = None if chunks is None else tile_sizes(chunks, shape, dtype)
    meta = backend.meta(residence, dtype, ndim=2)
    if 0 in (*shape, a.shape[1]):
        empty: da.Array = da.zeros_like(meta, shape=shape, dtype=dtype, chunks=tiles or "auto")
        return empty
    same = a.name == b.name
    sources = [_source(a)] * 2 if same else [_source(x) for x in (a, b)]
    left, right = (source.operand for source in sources)
    keep_on_device = residence == "device"
    plan = plan_matmul(left, right, dtype.name, resources, same=same, keep_on_device=keep_on_device, chunks=tiles)
    held = [
        source.array if backend.residence_of(source.array._meta) == "device" else to_host(source.array)
        for source in sources
    ]
    begun = _begun(plan, resources.workers)
    # What the tasks depend on, not what they are predicted to cost, which differs between machines.
    followed = plan.rows, plan.columns, plan.panels, plan.first_panels, begun, plan.hold_a, plan.hold_b, plan.side
    name = f"{PRODUCT_NAME}-{tokenize(a.name, b.name, followed, residence)}"
    mapping = _tasks(name, sources, held, plan, begun, keep_on_device=keep_on_device)
    dependencies: list[Any] = [x for x, hold in zip(held, (plan.hold_a, plan.hold_b), strict=True) if hold]
    layer = ProductLayer(mapping, plan, f"product-{tokenize(a.name, b.name)}")
    graph = HighLevelGraph.from_collections(name, layer, dependencies=dependencies)
    product: da.Array = da.Array(graph, name, (plan.rows, plan.columns), meta=meta, dtype=dtype)
    return product


def _source(x: da.Array) -> _Source:
    rows, columns = (tuple(size for size in axis if size) for axis in x.chunks)
    if any(0 in axis for axis in x.chunks):
        x = x.rechunk((rows, columns))
    on_device = backend.residence_of(x._meta) == "device"
    if in_memory(x):
        loose = not on_device and not holds_tiles(x)
        return _Source(x, Operand(rows, columns, made=True, loose=loose, on_device=on_device), None)
    found = recipes(x)
    if found is None:
        return _Source(x, Operand(rows, columns, on_device=on_device), None)
    return _Source(
        x, Operand(rows, columns, kind(found), on_device=on_device, making_nbytes=making_nbytes(x, found)), found
    )


def _begun(plan: MatmulPlan, workers: int) -> set[tuple[int, int]]:
    """The tiles, if not all, while whose first panels go up nothing else is multiplied, as far as can be told."""
    if plan.first_panels == plan.panels:
        return set()
    return beginnings(product(range(len(plan.rows)), range(len(plan.columns))), workers)


def _tasks(
    name: str,
    sources: Sequence[_Source],
    held: Sequence[da.Array],
    plan: MatmulPlan,
    begun: Set[tuple[int, int]],
    *,
    keep_on_device: bool,
) -> dict[Any, Task]:
    """One task an output tile."""
    (a, b), (a_held, b_held) = (source.operand for source in sources), held
    panels, first_panels = intervals(plan.panels), intervals(plan.first_panels)
    largest = (max(plan.rows), max(plan.columns))
    from_host = not (a.on_device and b.on_device)
    tasks = {}
    for i, rows in enumerate(intervals(plan.rows)):
        row_pieces = cover(a.row_bounds, *rows)
        for j, columns in enumerate(intervals(plan.columns)):
            column_pieces = cover(b.column_bounds, *columns)
            task = TileTask(
                shape=TileShape((rows[1] - rows[0], columns[1] - columns[0]), largest, max(plan.panels)),
                dtype=plan.dtype,
                rows=row_pieces,
                columns=column_pieces,
                a_bounds=a.column_bounds,
                b_bounds=b.row_bounds,
                panels=first_panels if (i, j) in begun else panels,
                side=plan.side,
                keep_on_device=keep_on_device,
                gives_way=from_host and bool(begun) and (i, j) not in begun,
            )
            a_keys = [[(p.chunk, k) for k in range(len(a.columns))] for p in row_pieces]
            b_keys = [[(k, p.chunk) for k in range(len(b.rows))] for p in column_pieces]
            tasks[name, i, j] = Task(
                (name, i, j),
                multiply_tile,
                task,
                _chunks(a_keys, a_held if plan.hold_a else None, sources[0]),
                _chunks(b_keys, b_held if plan.hold_b else None, sources[1]),
            )
    return tasks


def _chunks(indices: list[list[tuple[int, int]]], held: da.Array | None, source: _Source) -> Any:
    """A strip's chunks as a task takes them: references to held chunks, or recipes."""
    if held is not None:
        return List(*(List(*(TaskRef((held.name, *index)) for index in row)) for row in indices))
    assert source.recipes is not None
    return [[source.recipes[source.array.name, *index] for index in row] for row in indices]
