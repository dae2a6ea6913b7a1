"""Row blocks of a matrix that this process has in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from dask._task_spec import DataNode
from dask.base import tokenize
from distributed.client import Client
from distributed.comm.addressing import get_address_host

from overspill import memory
from overspill.errors import ArrayError
from overspill.kernels.csr_residence import index_dtype, make
from overspill.ops.residence import TILE_NAME
from overspill.planning.grid import intervals
from overspill.sparse.block import Block, RowBlock
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.operands import check_dtype
from overspill.sparse.partition import balanced, block_count

SPARSE: tuple[type[Any], ...] = (scipy.sparse.sparray, scipy.sparse.spmatrix)


def from_scipy(A: Any, blocks: int | None = None) -> CSRMatrix:
    """The matrix of one in this process's memory, in row blocks with as many stored entries each.

    Blocks are tiles. If a Dask client is active they go to its workers now, neighbours to the same one, and there they
    stay; a worker that dies takes its own with it. Without a client they travel with the graph, which suits small
    matrices: make large ones inside ``with osp.cluster():``, or read them from files.

    Parameters
    ----------
    A
        A sparse matrix or array of SciPy's, of any format; it is copied.
    blocks
        How many row blocks; about one for each 256 MiB unless given, and one or more a worker.

    Returns
    -------
    CSRMatrix
        Entries that `A` has twice are summed.

    Raises
    ------
    ArrayError
        If `A` is no sparse matrix, is damaged, or `blocks` is no count.
    DTypeError
        If its elements are neither float32, float64, complex64 nor complex128.

    Examples
    --------
    >>> import scipy.sparse
    >>> from_scipy(scipy.sparse.eye_array(6), blocks=3).row_chunks
    (2, 2, 2)
    """
    whole = _canonical(A)
    sizes = balanced(np.diff(whole.indptr), block_count(blocks, whole.nnz, whole.dtype.itemsize))
    known, parts = [], []
    for start, stop in intervals(sizes):
        block, part = _cut(whole, start, stop)
        known.append(block)
        parts.append(part)
    name = f"{TILE_NAME}-csr-{tokenize(whole.data, whole.indices, whole.indptr, whole.shape, sizes)}"
    return CSRMatrix(_placed(name, parts), name, whole.shape, whole.dtype, known)


def _canonical(A: Any) -> RowBlock:
    if not isinstance(A, SPARSE) or A.ndim != 2:
        raise ArrayError(
            f"from_scipy takes sparse matrices of SciPy's with two dimensions, not {type(A).__name__} of shape "
            f"{np.shape(A)}: make one with scipy.sparse.csr_array"
        )
    dtype = check_dtype(A.dtype)
    compressed: Any = A if hasattr(A, "indptr") else scipy.sparse.csr_array(A)
    _check_sound(compressed)
    whole: RowBlock = scipy.sparse.csr_array(compressed, dtype=dtype)
    if not whole.has_canonical_format:
        whole = whole.copy()  # what was passed may share its arrays
        whole.sum_duplicates()
    return whole


def _check_sound(A: Any) -> None:
    """Refuse pointers and indices that would lead SciPy's loops out of their arrays."""
    try:
        type(A)(A).check_format(full_check=True)  # not of A, from which it would cut off what is left over
        if (np.diff(A.indptr) < 0).any():
            raise ValueError("indptr decreases")
    except ValueError as error:
        raise ArrayError(f"A of shape {A.shape} is damaged ({error}): make it anew with scipy.sparse") from None


def _cut(whole: RowBlock, start: int, stop: int) -> tuple[Block, RowBlock]:
    first, last = int(whole.indptr[start]), int(whole.indptr[stop])
    indices = whole.indices[first:last]
    window = (int(indices.min()), int(indices.max()) + 1) if last > first else (0, 0)
    width = window[1] - window[0]
    index = index_dtype(last - first, width)
    part = make(
        memory.as_tile(whole.data[first:last]),
        memory.as_tile((indices - window[0]).astype(index, copy=False)),
        memory.as_tile((whole.indptr[start : stop + 1] - first).astype(index, copy=False)),
        width,
    )
    return Block(stop - start, window, last - first), part


def _placed(name: str, parts: list[RowBlock]) -> Mapping[Any, Any]:
    """The blocks by key: on the active client's workers, contiguous runs of them on each, or in the graph itself."""
    keys = [(name, i) for i in range(len(parts))]
    try:
        client = Client.current()
    except ValueError:
        client = None
    if client is None or client.asynchronous or not (workers := sorted(client.scheduler_info(n_workers=-1)["workers"])):
        return {key: DataNode(key, part) for key, part in zip(keys, parts, strict=True)}
    # Past the scheduler, which would have them as bytes, where that surely is possible.
    direct = all(get_address_host(worker) in ("127.0.0.1", "::1") for worker in workers)
    placed: dict[Any, Any] = {}
    for number, worker in enumerate(workers):
        run = slice(*(len(parts) * end // len(workers) for end in (number, number + 1)))
        if not parts[run]:
            continue
        # Not by keys of their own but by new ones, of which `keys` become other names: data under a key whose last
        # holder lets go at this moment may be dropped with it.
        futures = client.scatter(parts[run], workers=[worker], direct=direct, hash=False)
        placed |= dict(zip(keys[run], futures, strict=True))
    return placed
