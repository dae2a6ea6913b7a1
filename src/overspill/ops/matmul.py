"""The matrix product of Dask arrays that fit neither on a GPU nor in one process."""

from dataclasses import replace
from typing import Any, Literal

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill import backend, machine
from overspill.errors import ClusterError, UsageError
from overspill.ops.arguments import as_array, check_matrices, common_dtype, tile_sizes
from overspill.ops.residence import to_host
from overspill.ops.tile_tasks import beginnings, source_of, tile_tasks
from overspill.planning.matmul import plan_matmul
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.placement import PRODUCT_NAME
from overspill.planning.resources import Resources
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
    sources = [source_of(a)] * 2 if same else [source_of(x) for x in (a, b)]
    left, right = (source.operand for source in sources)
    keep_on_device = residence == "device"
    plan = plan_matmul(left, right, dtype.name, resources, same=same, keep_on_device=keep_on_device, chunks=tiles)
    held = [
        source.array if backend.residence_of(source.array._meta) == "device" else to_host(source.array)
        for source in sources
    ]
    first = beginnings(plan, resources.workers)
    # What the tasks depend on, not what they are predicted to cost, which differs between machines.
    followed = plan.rows, plan.columns, plan.panels, plan.first_panels, plan.hold_a, plan.hold_b, plan.side
    name = f"{PRODUCT_NAME}-{tokenize(a.name, b.name, followed, set(first.values()), residence)}"
    mapping = tile_tasks(name, sources, held, plan, first, keep_on_device=keep_on_device)
    dependencies: list[Any] = [x for x, hold in zip(held, (plan.hold_a, plan.hold_b), strict=True) if hold]
    layer = ProductLayer(mapping, plan, f"product-{tokenize(a.name, b.name)}")
    graph = HighLevelGraph.from_collections(name, layer, dependencies=dependencies)
    product: da.Array = da.Array(graph, name, (plan.rows, plan.columns), meta=meta, dtype=dtype)
    return product
