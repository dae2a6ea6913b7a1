"""A sparse matrix gathered into one process, if it fits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from overspill import machine
from overspill.errors import MemoryBudgetError
from overspill.kernels.csr_residence import index_dtype, make, to_host
from overspill.planning.sparse import block_nbytes
from overspill.sparse.block import Block, RowBlock
from overspill.units import format_nbytes, parse_nbytes

if TYPE_CHECKING:
    from overspill.sparse.collection import RowBlocks


def check_fits(A: "RowBlocks", limit: str | int | None) -> None:
    """Refuse to gather a matrix whose entries are known to take more than `limit`, or than there is.

    Raises
    ------
    MemoryBudgetError
        With both numbers.
    """
    if A.nnz is None:
        return
    nbytes = 2 * block_nbytes(
        A.shape[0], A.shape[1], A.nnz, A.dtype.itemsize
    )  # the blocks, and what they are joined to
    most = machine.available_nbytes() if limit is None else parse_nbytes(limit)
    if nbytes > most:
        raise MemoryBudgetError(
            f"a matrix of {A.shape[0]} × {A.shape[1]} with {A.nnz} entries takes {format_nbytes(nbytes)} while it is "
            f"gathered, and {format_nbytes(most)} are allowed: keep it in blocks, take rows as in A[:1000], or raise "
            f"to_scipy(limit=)"
        )


def joined(
    parts: Sequence[RowBlock], shape: tuple[int, int], dtype: np.dtype[Any], blocks: Sequence[Block]
) -> csr_array[Any]:
    """All blocks below each other, in host memory."""
    parts = [part if isinstance(part, csr_array) else to_host(part) for part in parts]
    nnz = sum(part.nnz for part in parts)
    index = index_dtype(nnz, shape[1])
    data, indices = np.empty(nnz, dtype), np.empty(nnz, index)
    indptr: Any = np.zeros(shape[0] + 1, index)
    row = start = 0
    for part, block in zip(parts, blocks, strict=True):
        stop = start + part.nnz
        data[start:stop] = part.data
        indices[start:stop] = part.indices
        indices[start:stop] += block.columns[0]
        indptr[row + 1 : row + block.rows + 1] = part.indptr[1:]
        indptr[row + 1 : row + block.rows + 1] += start
        row, start = row + block.rows, stop
    whole: csr_array[Any] = make(data, indices, indptr, shape[1])
    return whole
