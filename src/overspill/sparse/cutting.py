"""Sparse matrices cut anew along their rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from dask._task_spec import List, TaskRef

from overspill import backend
from overspill.errors import ArrayError
from overspill.kernels.csr_residence import index_dtype, make
from overspill.planning.grid import bounds, cover, intervals
from overspill.sparse.block import Block, RowBlock, united
from overspill.sparse.tasks import of_function

if TYPE_CHECKING:
    from overspill.sparse.matrix import CSRMatrix


def rows_of(A: "CSRMatrix", index: Any) -> "CSRMatrix":
    """``A[index]``, of a slice of rows without steps; its blocks are parts of those of `A`.

    Raises
    ------
    ArrayError
        For any other index.
    """
    rows, *rest = index if isinstance(index, tuple) and index else (index,)
    all_columns = all(other is Ellipsis or (isinstance(other, slice) and other == slice(None)) for other in rest)
    if not isinstance(rows, slice) or not all_columns or len(rest) > 1:
        raise ArrayError(f"A[{index!r}]: sparse matrices are cut by rows, as in A[10:20]; for others use A.to_scipy()")
    start, stop, step = rows.indices(A.shape[0])
    if step != 1:
        raise ArrayError(f"A[{index!r}] has steps of {step}: sparse matrices are cut into rows that follow each other")
    stop = max(start, stop)
    limits = bounds(A.row_chunks)
    return cut_anew(A, start, tuple(piece.size for piece in cover(limits, start, stop)) or (0,))


def cut_anew(A: "CSRMatrix", start: int, row_chunks: Sequence[int]) -> "CSRMatrix":
    """The rows of `A` from `start` on in blocks of `row_chunks`, each joined from the parts of blocks that it takes."""
    limits = bounds(A.row_chunks)
    arguments, blocks = [], []
    for first, stop in intervals(row_chunks):
        pieces = cover(limits, start + first, start + stop)
        sources = [A.blocks[piece.chunk] for piece in pieces]
        window = united([source.columns for source in sources])
        whole = all(piece.size == source.rows for piece, source in zip(pieces, sources, strict=True))
        nnz = sum(source.nnz or 0 for source in sources)
        known = whole and None not in [source.nnz for source in sources]
        blocks.append(Block(stop - first, window, nnz if known else None))
        cuts = tuple(
            (slice(piece.start, piece.stop), source.columns[0] - window[0])
            for piece, source in zip(pieces, sources, strict=True)
        )
        refs = List(*(TaskRef((A.name, piece.chunk)) for piece in pieces))
        arguments.append((cuts, window[1] - window[0], A.dtype, A.residence, refs))
    shape = sum(row_chunks), A.shape[1]
    return of_function(
        _joined,
        arguments,
        name="csr-rows",
        shape=shape,
        dtype=A.dtype,
        blocks=blocks,
        residence=A.residence,
        dependencies=[A],
    )


def shifted(block: RowBlock, by: int, width: int) -> RowBlock:
    """The block in a window of `width` columns in which its own begins at column `by`; entries are shared."""
    if by == 0 and block.shape[1] == width:
        return block
    index = np.promote_types(block.indices.dtype, index_dtype(0, width))
    indices = block.indices.astype(index, copy=False)
    # Negative of blocks without entries only, and perhaps beyond what indices can be.
    return make(block.data, indices + by if by > 0 else indices, block.indptr.astype(index, copy=False), width)


def _joined(
    cuts: Sequence[tuple[slice, int]],
    width: int,
    dtype: np.dtype[Any],
    residence: backend.Residence,
    blocks: Sequence[RowBlock],
) -> RowBlock:
    """The rows of `blocks` at `cuts`, below each other, each moved to the right by its own number of columns."""
    parts = [shifted(_rows(block, rows), by, width) for block, (rows, by) in zip(blocks, cuts, strict=True)]
    if len(parts) == 1:
        return parts[0]
    xp = backend.array_namespace(backend.meta(residence, dtype, 0))
    nnz = sum(part.nnz for part in parts)
    index = index_dtype(nnz, width)
    ends = [xp.zeros(1, index)]
    before = 0
    for part in parts:
        ends.append(part.indptr[1:].astype(index, copy=False) + before)
        before += part.nnz
    data = xp.concatenate([part.data for part in parts]) if parts else xp.empty(0, dtype)
    indices = xp.concatenate([part.indices for part in parts]) if parts else xp.empty(0, index)
    return make(data, indices.astype(index, copy=False), xp.concatenate(ends), width)


def _rows(block: RowBlock, rows: slice) -> RowBlock:
    if (rows.start, rows.stop) == (0, block.shape[0]):
        return block
    first, last = int(block.indptr[rows.start]), int(block.indptr[rows.stop])
    indptr = block.indptr[rows.start : rows.stop + 1] - first
    # Copies: parts would keep the whole block in memory, and kernels want arrays that begin where allocations do.
    return make(block.data[first:last].copy(), block.indices[first:last].copy(), indptr, block.shape[1])
