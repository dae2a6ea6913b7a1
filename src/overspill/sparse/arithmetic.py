"""Arithmetic of sparse matrices, block by block: sums, scaling, casts and diagonals."""

import numbers
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill import backend
from overspill.errors import ArrayError, DTypeError
from overspill.kernels import csr_residence
from overspill.planning.grid import intervals
from overspill.sparse.block import Block, RowBlock, united
from overspill.sparse.cutting import cut_anew, shifted
from overspill.sparse.operands import check_dtype
from overspill.sparse.residence import to_device
from overspill.sparse.tasks import map_blocks, of_function

if TYPE_CHECKING:
    from overspill.sparse.matrix import CSRMatrix


def combine(A: "CSRMatrix", B: "CSRMatrix", operation: Callable[[Any, Any], Any]) -> "CSRMatrix":
    """The sum or difference of `A` and `B`, cut as `A` is; on devices if one of them is.

    Raises
    ------
    ArrayError
        If their shapes differ, or `B` is no sparse matrix of this kind.
    """
    if not hasattr(B, "row_chunks"):
        raise ArrayError(
            f"a CSRMatrix and {type(B).__name__} cannot be added: make both sparse with CSRMatrix.from_scipy"
        )
    if A.shape != B.shape:
        raise ArrayError(f"shapes {A.shape} and {B.shape} do not match: only matrices of one shape can be added")
    if A.residence != B.residence:
        A, B = to_device(A), to_device(B)
    if A.row_chunks != B.row_chunks:
        B = cut_anew(B, 0, A.row_chunks)
    arguments, blocks = [], []
    for i, (a, b) in enumerate(zip(A.blocks, B.blocks, strict=True)):
        window = united([a.columns, b.columns])
        blocks.append(Block(a.rows, window, None))
        offsets = a.columns[0] - window[0], b.columns[0] - window[0]
        refs = TaskRef((A.name, i)), TaskRef((B.name, i))
        arguments.append((operation, *refs, offsets, window[1] - window[0]))
    return of_function(
        _combined,
        arguments,
        name="csr-sum",
        shape=A.shape,
        dtype=np.result_type(A.dtype, B.dtype),
        blocks=blocks,
        residence=A.residence,
        dependencies=[A, B],
    )


def _combined(
    operation: Callable[[Any, Any], Any], a: RowBlock, b: RowBlock, offsets: tuple[int, int], width: int
) -> RowBlock:
    found = operation(shifted(a, offsets[0], width), shifted(b, offsets[1], width))
    return csr_residence.make(found.data, found.indices, found.indptr, width)


def scale(A: "CSRMatrix", factor: Any, operation: Callable[[Any, Any], Any]) -> "CSRMatrix":
    """`A` multiplied or divided by a number, by `operation`.

    Raises
    ------
    ArrayError
        If it is no number.
    DTypeError
        If it is of a type that the result cannot have.
    """
    if isinstance(factor, np.ndarray) and factor.ndim == 0:
        factor = factor[()]
    if not isinstance(factor, numbers.Number | np.generic):
        raise ArrayError(f"A * {type(factor).__name__} is not defined: multiply by a number, or use A @ x for products")
    dtype = check_dtype(np.result_type(A.dtype, cast(Any, factor)))
    return _map(A, operation, factor, name="csr-scaled", dtype=dtype)


def negate(A: "CSRMatrix") -> "CSRMatrix":
    """``-A``."""
    return _map(A, operator.neg, name="csr-negated", dtype=A.dtype)


def conjugate(A: "CSRMatrix") -> "CSRMatrix":
    """`A` with its entries conjugated; itself where they are real."""
    return _map(A, np.conj, name="csr-conjugated", dtype=A.dtype) if A.dtype.kind == "c" else A


def astype(A: "CSRMatrix", dtype: Any) -> "CSRMatrix":
    """The same entries of another element type.

    Raises
    ------
    DTypeError
        If matrices cannot have it, or if it is real and `A` is complex.
    """
    target = check_dtype(dtype)
    if A.dtype.kind == "c" and target.kind != "c":
        raise DTypeError(f"casting {A.dtype} to {target} would drop imaginary parts: keep a complex type")
    return A if target == A.dtype else _map(A, _cast, target, name="csr-cast", dtype=target)


def _map(A: "CSRMatrix", function: Callable[..., Any], *arguments: Any, name: str, dtype: Any) -> "CSRMatrix":
    """The matrix whose entries are ``function(entries, *arguments)``, in the same places."""
    return map_blocks(A, _of_entries, dtype, function, *arguments, name=name, dtype=dtype, residence=A.residence)


def _of_entries(block: RowBlock, dtype: np.dtype[Any], function: Callable[..., Any], *arguments: Any) -> RowBlock:
    entries = function(block.data, *arguments).astype(dtype, copy=False)
    return csr_residence.make(entries, block.indices, block.indptr, block.shape[1])


def _cast(entries: Any, dtype: np.dtype[Any]) -> Any:
    return entries.astype(dtype)


def diagonal(A: "CSRMatrix") -> da.Array:
    """The elements on the diagonal, lazily and where `A` lies, in chunks of the rows of its blocks."""
    name = f"csr-diagonal-{tokenize(A.name)}"
    length = min(A.shape)
    tasks: dict[Any, Any] = {}
    sizes: list[int] = []
    for i, (block, (start, stop)) in enumerate(zip(A.blocks, intervals(A.row_chunks), strict=True)):
        size = max(0, min(stop, length) - start)
        if size or not i:
            tasks[name, len(sizes)] = Task(
                (name, len(sizes)), _diagonal, TaskRef((A.name, i)), start - block.columns[0], size
            )
            sizes.append(size)
    dependencies: list[Any] = [A]
    graph = HighLevelGraph.from_collections(name, MaterializedLayer(tasks), dependencies=dependencies)
    meta = backend.meta(A.residence, A.dtype, 1)
    x: da.Array = da.Array(graph, name, (tuple(sizes),), meta=meta, dtype=A.dtype)
    return x


def _diagonal(block: RowBlock, offset: int, size: int) -> Any:
    """The elements at (i, i + offset) of the block for i below `size`; 0 where that is outside its window."""
    found = backend.array_namespace(block.data).zeros(size, block.dtype)
    first, stop = max(0, -offset), min(size, block.shape[1] - offset)
    if first < stop:
        found[first:stop] = block.diagonal(offset)[: stop - first]
    return found
