"""The transpose of a sparse matrix: a view whose products need no transposed copy."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask._task_spec import List, Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill import backend
from overspill.kernels import csr
from overspill.kernels.csr_residence import empty
from overspill.ops.block_products import SparseProductLayer
from overspill.ops.residence import TILE_NAME
from overspill.planning.grid import intervals
from overspill.sparse.operands import as_operand
from overspill.sparse.products import block_tasks, product_graph, tails

if TYPE_CHECKING:
    from overspill.sparse.matrix import CSRMatrix

FAN_IN = 16
"""Partial results that one task adds up at most."""


@dataclass(frozen=True, slots=True)
class Transposed:
    """The transpose of a matrix, or its conjugate transpose; nothing is copied.

    Attributes
    ----------
    matrix
        The matrix itself.
    conjugated
        Whether elements are conjugated too.
    """

    matrix: "CSRMatrix"
    conjugated: bool = False

    __array_ufunc__ = None
    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.matrix.shape
        return columns, rows

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return self.matrix.dtype

    @property
    def nnz(self) -> int | None:
        """Stored entries; None until all blocks are computed."""
        return self.matrix.nnz

    @property
    def residence(self) -> backend.Residence:
        """Where the blocks lie."""
        return self.matrix.residence

    @property
    def T(self) -> "CSRMatrix":
        """The matrix, conjugated if this one is."""
        return self.matrix.conj() if self.conjugated else self.matrix

    @property
    def H(self) -> "CSRMatrix":
        """The conjugate transpose."""
        return self.matrix if self.conjugated else self.matrix.conj()

    def conj(self) -> "Transposed":
        """The same with its elements conjugated."""
        return Transposed(self.matrix, not self.conjugated)

    def matvec(self, x: Any) -> da.Array:
        """``self @ x``."""
        y: da.Array = self @ x
        return y

    def rmatvec(self, x: Any) -> da.Array:
        """``self.H @ x``."""
        y: da.Array = self.H @ x
        return y

    def __matmul__(self, x: Any) -> da.Array:
        if not (self.conjugated and self.dtype.kind == "c"):
            return multiply_transposed(self.matrix, x)
        x, _ = as_operand(self, x, "columns")
        y: da.Array = multiply_transposed(self.matrix, x.conj()).conj()
        return y

    def __rmatmul__(self, x: Any) -> da.Array:
        return from_left(x, self.T)


def from_left(x: Any, transposed: "CSRMatrix | Transposed") -> da.Array:
    """``x @ A``, of the transpose of `A`: ``(A.T @ x.T).T``."""
    turned = x.T if hasattr(x, "T") else np.asarray(x).T
    y: da.Array = (transposed @ turned).T
    return y


@dataclass(frozen=True, slots=True)
class _Addend:
    """What of a partial result belongs to the rows from `start` to `stop` of a chunk: from its element `first` on."""

    start: int
    stop: int
    first: int
    ref: TaskRef


def multiply_transposed(A: "CSRMatrix", x: Any) -> da.Array:
    """``A.T @ x``, lazily: each block's partial result reaches the chunks that its window overlaps, in a fixed order.

    Chunks along the rows are the row blocks of `A` where it is square, else as many even ones.
    """
    x, dtype = as_operand(A, x, "rows")
    sizes = A.row_chunks if A.shape[0] == A.shape[1] else _even(A.shape[1], len(A.blocks))
    token = tokenize(A.name, x.name)
    prefix = TILE_NAME if A.residence == "host" else "overspill"
    name, partial = f"{prefix}-sparse-transposed-{token}", f"{prefix}-sparse-partial-{token}"
    widths = [block.width for block in A.blocks]
    partials = block_tasks(partial, csr.rmatvec, A, x, dtype, intervals(A.row_chunks), widths)
    sums: dict[Any, Any] = {}
    for tail, trailing in tails(x):
        for j, rows in enumerate(intervals(sizes)):
            addends = list(_addends(sums, partial, A, tail, rows, j))
            _add_up(sums, (name, j, *tail), addends, (rows[1] - rows[0], *trailing), dtype, A.residence)
    layer = SparseProductLayer(partials, (A.shape[1], A.shape[0]), A.residence)
    graph = product_graph(partial, layer, A, x)
    whole = HighLevelGraph({**graph.layers, name: MaterializedLayer(sums)}, {**graph.dependencies, name: {partial}})
    meta = backend.meta(A.residence, dtype, x.ndim)
    y: da.Array = da.Array(whole, name, (sizes, *x.chunks[1:]), meta=meta, dtype=dtype)
    return y


def _even(length: int, parts: int) -> tuple[int, ...]:
    parts = max(1, min(length, parts))
    return tuple(length * (i + 1) // parts - length * i // parts for i in range(parts))


def _addends(
    sums: dict[Any, Any], partial: str, A: "CSRMatrix", tail: tuple[int, ...], rows: tuple[int, int], j: int
) -> Iterator[_Addend]:
    """What is added up to the rows of chunk `j`."""
    for i, block in enumerate(A.blocks):
        start, stop = max(rows[0], block.columns[0]), min(rows[1], block.columns[1])
        if start >= stop:
            continue
        ref, first = TaskRef((partial, i, *tail)), start - block.columns[0]
        if A.residence == "device" and stop - start < block.width:  # other devices are sent what they need, no more
            key: Any = (f"{partial}-part", i, j, *tail)
            sums[key] = Task(key, operator.getitem, ref, slice(first, first + stop - start))
            ref, first = TaskRef(key), 0
        yield _Addend(start - rows[0], stop - rows[0], first, ref)


def _add_up(
    sums: dict[Any, Any],
    key: tuple[Any, ...],
    addends: list[_Addend],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    residence: backend.Residence,
) -> None:
    """Put into `sums` the tree of tasks that makes `key` of `addends`, merged by their places."""
    name, index = key[0], key[1:]
    level = 0
    while len(addends) > FAN_IN:
        merged = []
        for number, low in enumerate(range(0, len(addends), FAN_IN)):
            group = addends[low : low + FAN_IN]
            start, stop = min(each.start for each in group), max(each.stop for each in group)
            node: Any = (f"{name}-sum-{level}", number, *index)
            sums[node] = _sum(node, group, start, (stop - start, *shape[1:]), dtype, residence)
            merged.append(_Addend(start, stop, 0, TaskRef(node)))
        addends, level = merged, level + 1
    sums[key] = _sum(key, addends, 0, shape, dtype, residence)


def _sum(
    key: Any, addends: list[_Addend], first: int, shape: tuple[int, ...], dtype: np.dtype[Any], residence: str
) -> Task:
    places = tuple(
        (slice(each.start - first, each.stop - first), slice(each.first, each.first + each.stop - each.start))
        for each in addends
    )
    return Task(key, _add, shape, dtype, residence, places, List(*(each.ref for each in addends)))


def _add(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    residence: backend.Residence,
    places: Sequence[tuple[slice, slice]],
    parts: Sequence[Any],
) -> Any:
    total = empty(residence, shape, dtype)
    total[...] = 0
    for (target, source), part in zip(places, parts, strict=True):
        total[target] += part[source]
    return total
