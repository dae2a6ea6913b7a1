"""Sparse matrices in Zarr, opened: each row block reads its own part of the group's three arrays."""

import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from overspill.errors import StorageError
from overspill.sparse.block import Block
from overspill.sparse.matrix import CSRMatrix, of_function
from overspill.sparse.partition import balanced, parts_of
from overspill.storage import node, records, sparse_group, stored
from overspill.storage.sparse_group import SparseGroup
from overspill.storage.stored import StoredArray


def open(path: str | os.PathLike[str]) -> CSRMatrix:
    """A lazy matrix over the Zarr group at `path`, which `save` wrote, or anndata in its ``csr_matrix`` encoding.

    Parameters
    ----------
    path
        A directory, on a file system that every worker sees.

    Returns
    -------
    CSRMatrix
        In the row blocks that were saved; a group of another program's is cut into new ones, for which its ``indptr``
        is read now. Nothing else is read yet. A task whose part cannot be read, or makes no sense, raises
        `StorageError`.

    Raises
    ------
    StorageError
        If there is no such group, it is damaged, or `save` has not finished it.
    UsageError
        If `path` is a URL.
    DTypeError
        If the stored elements are of no type that a sparse matrix can have.

    Examples
    --------
    >>> import tempfile
    >>> from overspill.sparse.generators import banded
    >>> from overspill.sparse.saving import save
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save(banded(4, 1, blocks=2), f"{directory}/a.zarr")
    ...     A = open(f"{directory}/a.zarr")
    ...     print(A.shape, A.nnz, A.to_scipy().diagonal())
    (4, 4) 10 [2. 2. 2. 2.]
    """
    location = node.local_path(path)
    group = sparse_group.read_group(location)
    data, indices, indptr = (_array(location, name, group) for name in sparse_group.ARRAYS)
    rows = group.shape[0]
    if indptr.shape != (rows + 1,) or indices.shape != data.shape or data.ndim != 1:
        raise StorageError(
            f"{location} has data, indices and indptr of shapes {data.shape}, {indices.shape} and {indptr.shape}, not "
            f"those of a matrix of {rows} rows: save it anew"
        )
    for name, array in (("indices", indices), ("indptr", indptr)):
        if array.dtype.kind not in "iu":
            raise StorageError(f"{location / name} has elements of type {array.dtype}, not integers: save it anew")
    if group.token is not None:
        blocks = [Block(count, (first, stop), nnz) for count, first, stop, nnz in group.blocks]
        if sum(nnz for *_, nnz in group.blocks) != data.shape[0]:
            raise StorageError(f"{location} has {data.shape[0]} entries, its blocks {group.nnz}: save the matrix anew")
    else:
        blocks = _cut(location, indptr, group.shape, data)
    starts = list(accumulate((block.rows for block in blocks), initial=0))
    entries = list(accumulate((block.nnz or 0 for block in blocks), initial=0))
    arguments = [
        (data, indices, indptr, start, entry, block)
        for start, entry, block in zip(starts, entries, blocks, strict=False)
    ]
    if group.token is None:  # entries of one place are summed, which leaves fewer
        blocks = [Block(block.rows, block.columns, None) for block in blocks]
    return of_function(_read, arguments, name="stored-csr", shape=group.shape, dtype=data.dtype, blocks=blocks)


def _array(path: Path, name: str, group: SparseGroup) -> StoredArray:
    """One of the group's arrays, whole, and of the save that the group is of."""
    array = stored.stored_in(stored.open(path / name))
    assert array is not None  # that is what open returns
    if group.token is not None:
        save = records.read_save(path / name)
        if save is None or save.token != array_token(group.token, name):
            raise StorageError(f"{path / name} is not of the save that {path} is of: save the matrix anew")
    return array


def array_token(token: str, name: str) -> str:
    """What names the computation of one of a group's arrays."""
    return f"{token}/{name}"


def _cut(path: Path, indptr: StoredArray, shape: tuple[int, int], data: StoredArray) -> list[Block]:
    """Row blocks of a matrix that another program stored, windows as wide as it."""
    pointers = indptr[:].astype(np.int64)
    counts = np.diff(pointers)
    if pointers[0] != 0 or pointers[-1] != data.shape[0] or (counts < 0).any():
        raise StorageError(
            f"{path} has an indptr that does not lead from 0 up to its {data.shape[0]} entries: save it anew"
        )
    sizes = balanced(counts, parts_of(data.shape[0], data.dtype.itemsize))
    ends = np.cumsum(sizes)
    return [
        Block(size, (0, shape[1]), int(pointers[end] - pointers[end - size]))
        for size, end in zip(sizes, ends.tolist(), strict=True)
    ]


def _read(
    data: StoredArray, indices: StoredArray, indptr: StoredArray, start: int, entry: int, block: Block
) -> csr_array[Any]:
    """The row block whose first row is `start` and whose first entry is `entry`."""
    assert block.nnz is not None
    part = slice(entry, entry + block.nnz)
    pointers = indptr[start : start + block.rows + 1].astype(np.int64, copy=False) - entry
    columns = indices[part].astype(np.int64, copy=False) - block.columns[0]
    _check(Path(indptr.path).parent, pointers, columns, block)
    index = np.int32 if max(block.nnz, block.width) <= np.iinfo(np.int32).max else np.int64
    values = data[part]
    made = csr_array((values, columns.astype(index), pointers.astype(index)), shape=block.shape)
    made.sum_duplicates()
    return made


def _check(path: Path, pointers: Any, columns: Any, block: Block) -> None:
    rising = pointers[0] == 0 and pointers[-1] == block.nnz and (np.diff(pointers) >= 0).all()
    if not rising or not ((columns >= 0) & (columns < block.width)).all():
        raise StorageError(f"{path} is damaged: indptr and indices do not fit its row blocks: save the matrix anew")


def described(blocks: Sequence[Block]) -> tuple[tuple[int, int, int, int], ...]:
    """What a group says of row blocks whose entries are counted."""
    return tuple((block.rows, *block.columns, block.nnz or 0) for block in blocks)
