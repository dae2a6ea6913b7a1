"""The block Jacobi preconditioner: the inverses of dense blocks along the diagonal."""

import functools
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill import backend
from overspill.errors import ArrayError, UsageError
from overspill.linalg.arguments import common_dtype
from overspill.linalg.jacobi import square
from overspill.linalg.operators import identity
from overspill.linalg.preconditioner import Preconditioner, Rule
from overspill.linalg.space import Operator
from overspill.planning.grid import intervals
from overspill.sparse.block import RowBlock
from overspill.sparse.matrix import CSRMatrix


def block_jacobi(A: Any, size: int = 32) -> Preconditioner:
    """The inverses of blocks of `size` rows and columns along the diagonal of `A`, as a preconditioner.

    Blocks begin anew with each row block of a `CSRMatrix`. They are inverted all at once, where they lie.

    Parameters
    ----------
    A
        Square matrix: a `CSRMatrix`, a SciPy or cupyx sparse matrix, or a NumPy array.
    size
        Rows of a block. Takes ``n * size`` numbers of memory.

    Returns
    -------
    Preconditioner
        For `M` of the solvers; lazy if `A` is. Hermitian where `A` is.

    Raises
    ------
    ArrayError
        If `A` is not square or its entries are not at hand; when it is computed, if a block is singular.
    UsageError
        If `size` is no number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.array([[2.0, 1.0, 0.0], [1.0, 1.0, 3.0], [0.0, 3.0, 4.0]])
    >>> (osp.linalg.block_jacobi(A, 2) @ np.array([3.0, 2.0, 2.0])).round(6)
    array([1. , 1. , 0.5])
    """
    shape = square("block_jacobi", A)
    if not (isinstance(size, int) and size > 0):
        raise UsageError(f"block_jacobi cannot use size={size!r}: pass a number of rows, at least 1")
    dtype = common_dtype(A)
    if isinstance(A, CSRMatrix):
        inverses = _of_blocks(A, size, dtype)
        local = functools.partial(_local_rule, size, A.row_chunks)
        return Preconditioner(shape, dtype, None, (inverses,), ChunkByChunk(size), local)
    if isinstance(A, np.ndarray):
        A = scipy.sparse.csr_array(A)
    if isinstance(A, da.Array) or not hasattr(A, "tocsr"):
        raise ArrayError(
            f"block_jacobi needs a sparse matrix's entries, which a {type(A).__name__} does not have at hand: pass a "
            f"CSRMatrix or a SciPy matrix, or use jacobi or chebyshev"
        )
    inverses = inverted(A.tocsr(), 0, size, dtype, 0)
    local = functools.partial(_local_rule, size, (shape[0],))
    return Preconditioner(shape, dtype, None, (inverses,), Blockwise(size, (shape[0],)), local)


@dataclass(frozen=True, slots=True)
class Blockwise:
    """The rule in memory; blocks of `size` rows begin anew with each of `chunks`, which are numbers of rows."""

    size: int
    chunks: tuple[int, ...]

    def __call__(self, A: Operator, vectors: tuple[Any, ...], r: Any) -> Any:
        """Each block times its rows of `r`."""
        (inverses,) = vectors
        if isinstance(r, da.Array):
            raise ArrayError("block_jacobi of a matrix in memory cannot take Dask vectors: make it of a CSRMatrix")
        xp: Any = backend.array_namespace(r)
        z = xp.empty(r.shape, np.result_type(inverses, r))
        count = 1 if r.ndim == 1 else r.shape[1]
        for start, stop in intervals(self.chunks):
            whole = start + (stop - start) // self.size * self.size
            stacked = inverses[start:whole].reshape(-1, self.size, self.size)
            columns = r[start:whole].reshape(len(stacked), self.size, count)
            z[start:whole] = xp.matmul(stacked, columns).reshape(z[start:whole].shape)
            if whole < stop:
                z[whole:stop] = inverses[whole:stop, : stop - whole] @ r[whole:stop]
        return z


@dataclass(frozen=True, slots=True)
class ChunkByChunk:
    """The rule for Dask vectors, whose chunks are the matrix's row blocks."""

    size: int

    def __call__(self, A: Operator, vectors: tuple[Any, ...], r: Any) -> Any:
        """`Blockwise` of each chunk."""
        (inverses,) = vectors
        axes, dtype = ("rows", "columns")[: r.ndim], np.result_type(inverses, r)
        if not isinstance(r, da.Array):
            r = da.from_array(r, chunks=(inverses.chunks[0], *r.shape[1:]))
        return da.blockwise(
            _apply,
            axes,
            inverses,
            ("rows", "block"),
            r.rechunk({0: inverses.chunks[0]}),
            axes,
            size=self.size,
            concatenate=True,
            dtype=dtype,
            meta=backend.meta(backend.residence_of(inverses._meta), dtype, r.ndim),
        )


def _apply(inverses: Any, r: Any, size: int) -> Any:
    return Blockwise(size, (r.shape[0],))(identity, (inverses,), r)


def _local_rule(size: int, row_chunks: tuple[int, ...], blocks: range) -> Rule:
    return Blockwise(size, row_chunks[blocks.start : blocks.stop])


def _of_blocks(A: CSRMatrix, size: int, dtype: np.dtype[Any]) -> da.Array:
    name = f"block-jacobi-{tokenize(A.name, size)}"
    tasks = {
        (name, i, 0): Task((name, i, 0), inverted, TaskRef((A.name, i)), start - block.columns[0], size, dtype, start)
        for i, (block, (start, _)) in enumerate(zip(A.blocks, intervals(A.row_chunks), strict=True))
    }
    dependencies: list[Any] = [A]
    graph = HighLevelGraph.from_collections(name, MaterializedLayer(tasks), dependencies=dependencies)
    return da.Array(graph, name, (A.row_chunks, (size,)), meta=backend.meta(A.residence, dtype, 2), dtype=dtype)


def inverted(block: RowBlock, offset: int, size: int, dtype: np.dtype[Any], row: int) -> Any:
    """Inverses of the dense blocks of a row block along the diagonal of its matrix, below each other.

    Parameters
    ----------
    block
        CSR of m rows.
    offset
        The block's column in which the diagonal begins.
    size
        Rows of a dense block.
    dtype
        Of the result.
    row
        The matrix's row in which the block begins, for the error.

    Returns
    -------
    array
        Shape (m, size), where the block lies. The last dense block may have fewer rows, and then as many columns.
    """
    xp: Any = backend.array_namespace(block.data)
    m = block.shape[0]
    count = -(-m // size)
    dense = xp.zeros((count * size, size), dtype)
    rows = xp.searchsorted(block.indptr, xp.arange(block.nnz), side="right") - 1
    columns = block.indices.astype(np.int64) - offset - rows // size * size
    inside = (columns >= 0) & (columns < size)
    dense[rows[inside], columns[inside]] = block.data[inside]
    padding = xp.arange(m, count * size)
    dense[m:] = 0
    dense[m - m % size : m, (m % size or size) :] = 0  # columns of the next row block
    dense[padding, padding % size] = 1
    stacked = dense.reshape(count, size, size)
    try:
        inverses = xp.linalg.inv(stacked)
    except np.linalg.LinAlgError:
        inverses = xp.full_like(stacked, np.nan)
    if not bool(xp.isfinite(inverses).all()):
        raise ArrayError(
            f"block_jacobi cannot invert a block of {size} rows among the rows from {row} to {row + m}, which is "
            f"singular or not finite: pass another size=, or use jacobi"
        )
    adjoint = inverses.conj().transpose(0, 2, 1)
    hermitian = xp.all(stacked == stacked.conj().transpose(0, 2, 1), axis=(1, 2))[:, None, None]
    return xp.where(hermitian, (inverses + adjoint) / 2, inverses).reshape(count * size, size)[:m]
