"""Writing a sparse matrix to Zarr, block by block, so that it can be interrupted and resumed."""

import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import compute
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from numpy.typing import NDArray

from overspill import backend
from overspill.errors import StorageError, UsageError
from overspill.sparse.block import Block, RowBlock
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.stored import array_token, described
from overspill.storage import node, sparse_group, target
from overspill.storage import save as save_array
from overspill.storage.sources import stores_read
from overspill.storage.sparse_group import SparseGroup


def save(
    A: CSRMatrix,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    token: str | None = None,
) -> None:
    """Compute `A` and write it to a Zarr group at `path`, which `open` reads, and anndata does.

    The group holds the arrays ``data``, ``indices`` and ``indptr`` of the whole matrix in CSR format, written and
    recorded block by block as `overspill.save` writes arrays. After an interruption ``resume=True`` computes the row
    blocks of which something is missing. Until all is written `open` refuses the group.

    Parameters
    ----------
    A
        The matrix. If its stored entries are not counted yet, its blocks are computed twice, once to count them:
        persist it where it fits in memory.
    path
        Directory to make, on a file system that every worker sees. It appears when the save begins.
    resume
        Go on with an earlier save of the same computation; where `path` does not exist, begin.
    overwrite
        Replace the sparse matrix at `path`.
    token
        Names the computation, so that parts of another one are not taken for its own; ``A.name`` unless given, which
        names the row blocks too: matrices cut otherwise go on with each other's saves only under one token.

    Raises
    ------
    StoreExistsError
        If `path` exists, and neither `resume` nor `overwrite` is given.
    StorageError
        If `path` cannot be written, was begun by another computation than `A`, or is no sparse matrix to overwrite.
    UsageError
        If both `resume` and `overwrite` are given, `path` is a URL, or `A` is read from the group to overwrite.

    Examples
    --------
    >>> import tempfile, zarr
    >>> from overspill.sparse.generators import poisson
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save(poisson((8, 8)), f"{directory}/a.zarr")
    ...     print(zarr.open_group(f"{directory}/a.zarr", mode="r")["indptr"][:4])
    [ 0  3  7 11]
    """
    if resume and overwrite:
        raise UsageError("resume=True keeps what is stored and overwrite=True replaces it: pass one of them")
    location = node.local_path(path)
    token = A.name if token is None else token
    begun = sparse_group.read_group(location) if resume and os.path.lexists(location) else None
    if begun is None and os.path.lexists(location) and not overwrite:
        raise target.exists(location)
    if overwrite and os.path.realpath(location) in {
        os.path.realpath(Path(read).parent) for read in stores_read(A.dask)
    }:
        raise UsageError(f"the matrix is read from {path}, which it would overwrite: save it to another path")
    if begun is not None:
        _check_same(location, begun, A, token)
        A = _counted_as(A, begun)
    if A.nnz is None:
        A = A.compute_nnz()
    if begun is None:
        group = SparseGroup(A.shape, token, described(A.blocks))
        (sparse_group.replace_group if os.path.lexists(location) else sparse_group.create_group)(location, group)
    writes = [
        save_array(array, location / name, resume=True, compute=False, token=array_token(token, name))
        for name, array in zip(sparse_group.ARRAYS, _arrays(A), strict=True)
    ]
    compute(*writes)


def _check_same(path: Path, begun: SparseGroup, A: CSRMatrix, token: str) -> None:
    if begun.token is None:
        raise StorageError(f"{path} was not begun by osp.sparse.save: name another path, or overwrite=True")
    if begun.shape != A.shape:
        raise StorageError(
            f"{path} was begun with shape {begun.shape}, but this matrix has {A.shape}: name another path, or "
            "overwrite=True to begin anew"
        )
    if begun.token != token:
        raise StorageError(
            f"{path} was begun for {begun.token} in {len(begun.blocks)} row blocks, but this matrix is {token} in "
            f"{len(A.blocks)}: make it as it was begun, name another path, or overwrite=True to begin anew"
        )


def _counted_as(A: CSRMatrix, begun: SparseGroup) -> CSRMatrix:
    """`A` with its entries counted, if it has the row blocks whose entries were counted as the save began."""
    blocks = [Block(rows, (first, stop), nnz) for rows, first, stop, nnz in begun.blocks]
    same = [(block.rows, block.columns) for block in blocks] == [(block.rows, block.columns) for block in A.blocks]
    return CSRMatrix(A.dask, A.name, A.shape, A.dtype, blocks, A.residence) if same else A


def _arrays(A: CSRMatrix) -> tuple[da.Array, da.Array, da.Array]:
    """The three arrays of the whole matrix in CSR format, in the order of `sparse_group.ARRAYS`."""
    counts = tuple(block.nnz or 0 for block in A.blocks)
    ends = accumulate(counts)
    index = np.dtype(np.int32 if max(sum(counts), A.shape[1]) <= np.iinfo(np.int32).max else np.int64)
    pointers = (A.row_chunks[0] + 1, *A.row_chunks[1:])
    pointing = [(_pointers, end - count, index, i > 0) for i, (end, count) in enumerate(zip(ends, counts, strict=True))]
    return (
        _array(A, "data", [(_values,)] * len(counts), counts, A.dtype),
        _array(A, "indices", [(_columns, block.columns[0], index) for block in A.blocks], counts, index),
        _array(A, "indptr", pointing, pointers, index),
    )


def _array(
    A: CSRMatrix, name: str, calls: Sequence[tuple[Any, ...]], chunks: tuple[int, ...], dtype: np.dtype[Any]
) -> da.Array:
    full = f"csr-{name}-{A.name}"
    layer = {
        (full, i): Task((full, i), function, TaskRef((A.name, i)), *arguments)
        for i, (function, *arguments) in enumerate(calls)
    }
    collections: list[Any] = [A]
    graph = HighLevelGraph.from_collections(full, MaterializedLayer(layer), dependencies=collections)
    return da.Array(graph, full, (chunks,), meta=np.empty(0, dtype))


def _values(block: RowBlock) -> NDArray[Any]:
    return backend.to_numpy(block.data)


def _columns(block: RowBlock, first: int, index: np.dtype[Any]) -> NDArray[Any]:
    """Columns counted from the matrix's first, not the window's."""
    columns: NDArray[Any] = np.add(backend.to_numpy(block.indices), first, dtype=index)
    return columns


def _pointers(block: RowBlock, entry: int, index: np.dtype[Any], follows: bool) -> NDArray[Any]:
    """Where rows end, counted from the matrix's first entry; in the first block also where its first row begins."""
    ends: NDArray[Any] = np.add(backend.to_numpy(block.indptr), entry, dtype=index)
    return ends[1:] if follows else ends
