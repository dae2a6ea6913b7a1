"""Sparse products: a task a row block, which reads only the part of x that the block's columns need."""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from overspill import backend, memory
from overspill.kernels import csr, csr_residence
from overspill.memory import link
from overspill.ops.block_products import SparseProductLayer
from overspill.ops.residence import TILE_NAME
from overspill.planning.grid import Piece, bounds, cover, intervals
from overspill.planning.sparse import BlockProduct
from overspill.sparse.operands import as_operand
from overspill.sparse.residence import source_of

if TYPE_CHECKING:
    from overspill.sparse.matrix import CSRMatrix


SMALL_NBYTES = 2**18
"""Chunks of x below this size are sent whole to the tasks that need a part of them: a task for each part costs more."""


def multiply(A: "CSRMatrix", x: Any, kernel: Callable[[Any, Any], Any] = csr.matvec) -> da.Array:
    """``A @ x``, lazily, in tiles or on devices as `A` is; cut along the rows as `A` is, along columns as `x` is.

    Parameters
    ----------
    A
        The matrix.
    x
        Shape (columns,) or (columns, k).
    kernel
        What multiplies a block with the part of x that its columns meet.
    """
    x, dtype = as_operand(A, x, "columns")
    name = f"{TILE_NAME if A.residence == 'host' else 'overspill'}-sparse-product-{tokenize(A.name, x.name, kernel)}"
    mapping = block_tasks(name, kernel, A, x, dtype, [block.columns for block in A.blocks], A.row_chunks)
    graph = product_graph(name, SparseProductLayer(mapping, A.shape, A.residence), A, x)
    meta = backend.meta(A.residence, dtype, x.ndim)
    y: da.Array = da.Array(graph, name, (A.row_chunks, *x.chunks[1:]), meta=meta, dtype=dtype)
    return y


def product_graph(name: str, layer: SparseProductLayer, A: "CSRMatrix", x: da.Array) -> HighLevelGraph:
    """The graph of a layer of `block_tasks`."""
    dependencies: list[Any] = [A, x]
    graph = HighLevelGraph.from_collections(name, layer, dependencies=dependencies)
    return HighLevelGraph(graph.layers, {**graph.dependencies, name: {source_of(A), x.name}})


def block_tasks(
    name: str,
    kernel: Callable[[Any, Any], Any],
    A: "CSRMatrix",
    x: da.Array,
    dtype: np.dtype[Any],
    reads: Sequence[tuple[int, int]],
    writes: Sequence[int],
) -> dict[Any, Task]:
    """A task a block and chunk of columns: ``kernel(block, x[start:stop])``, the rows of `x` by block as in `reads`.

    `writes` are the rows of their results.
    """
    limits = bounds(x.chunks[0])
    square = A.shape[0] == A.shape[1]
    source = source_of(A)
    tasks: dict[Any, Task] = {}
    for i, (block, rows) in enumerate(zip(A.blocks, intervals(A.row_chunks), strict=True)):
        pieces = cover(limits, *reads[i])
        own = _overlap(rows, block.columns) if square else 0
        for tail, trailing in tails(x):
            planned = BlockProduct(
                pieces=pieces,
                reads=reads[i][1] - reads[i][0],
                writes=writes[i],
                trailing=trailing,
                halo=block.width - own,
                nnz=block.nnz,
                kind=dtype.kind,
                itemsize=dtype.itemsize,
                matrix_nbytes=block.nbytes(A.dtype.itemsize),
                streamed=source != A.name,
            )
            parts = List(*(_part(tasks, name, x, piece, tail) for piece in pieces))
            key = (name, i, *tail)
            tasks[key] = Task(key, _multiply, planned, kernel, TaskRef((source, i)), parts)
    return tasks


def _part(tasks: dict[Any, Task], name: str, x: da.Array, piece: Piece, tail: tuple[int, ...]) -> TaskRef:
    """The chunk of `x` that `piece` is of, or the piece itself, cut out where the chunk is and sent alone."""
    key = (x.name, piece.chunk, *tail)
    size = x.chunks[0][piece.chunk]
    if 2 * piece.size > size or size * x.dtype.itemsize < SMALL_NBYTES:
        return TaskRef(key)
    part: Any = (f"part-{name}", piece.chunk, piece.start, piece.stop, *tail)
    tasks[part] = Task(part, operator.getitem, TaskRef(key), slice(piece.start, piece.stop))
    return TaskRef(part)


def tails(x: da.Array) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Of the chunks along the columns of `x`: the rest of their index, and of their shape."""
    if x.ndim == 1:
        yield (), ()
    else:
        yield from (((j,), (columns,)) for j, columns in enumerate(x.chunks[1]))


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def _multiply(planned: BlockProduct, kernel: Callable[[Any, Any], Any], block: Any, parts: Sequence[Any]) -> Any:
    if planned.streamed:
        block = csr_residence.to_device(block)
    y = kernel(block, _operand(planned, block, parts))
    return y if backend.is_device_array(y) else memory.as_tile(y)  # which other processes read where it lies


def _operand(planned: BlockProduct, block: Any, given: Sequence[Any]) -> Any:
    """What the block meets of x, in one piece and where the block lies: a view of a chunk, if that has it.

    `given` are chunks, or parts of them that have been cut out already.
    """
    residence = csr_residence.residence_of(block)
    place = link.to_device if residence == "device" else _on_host
    parts = [
        place(x if len(x) == piece.size else x[piece.start : piece.stop])
        for piece, x in zip(planned.pieces, given, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    shape = planned.reads, *planned.trailing
    dtype = parts[0].dtype if parts else np.dtype(f"{planned.kind}{planned.itemsize}")
    whole = csr_residence.empty(residence, shape, dtype)
    for piece, part in zip(planned.pieces, parts, strict=True):
        whole[piece.offset : piece.offset + piece.size] = part
    return whole


def _on_host(x: Any) -> NDArray[Any]:
    return link.download(x) if backend.is_device_array(x) else np.asarray(x)
