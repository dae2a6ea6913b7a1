"""Row blocks of a matrix that is given as triplets (row, column, value) in Dask arrays."""

from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import TaskRef
from dask.delayed import delayed
from numpy.typing import NDArray

from overspill import backend
from overspill.errors import ArrayError, DTypeError
from overspill.memory import link
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.operands import check_dtype
from overspill.sparse.partition import block_count
from overspill.sparse.triplets import Survey, of_pieces, row_blocks, survey, surveyed
from overspill.storage.triplets import Triplets


def from_coo(rows: Any, columns: Any, values: Any, shape: tuple[int, int], blocks: int | None = None) -> CSRMatrix:
    """The matrix of triplets in chunks, which together need not fit in memory.

    They are gone through twice: once now, on the scheduler in use, to learn how they spread over the rows and which
    columns those need, and once when the matrix is computed. So they are made twice, unless they are persisted.

    Parameters
    ----------
    rows, columns
        Indices from 0, integers in Dask arrays of one dimension, or what `dask.array.asarray` takes.
    values
        The entries, of as many elements; float32, float64, complex64 or complex128.
    shape
        Of the matrix.
    blocks
        How many row blocks; about one for each 256 MiB unless given, and one or more a worker.

    Returns
    -------
    CSRMatrix
        On the host. Values of one place are summed.

    Raises
    ------
    ArrayError
        Arrays that do not match, chunks of unknown size, an index out of range, a `shape` that is none.
    DTypeError
        Indices that are no integers, values of another type.

    Examples
    --------
    >>> import dask.array as da
    >>> at = da.arange(4, chunks=2)
    >>> from_coo(at, at[::-1], da.ones(4, chunks=2), (4, 4), blocks=2).to_scipy().toarray()[0]
    array([0., 0., 0., 1.])
    """
    if len(shape) != 2 or min(shape) < 0:
        raise ArrayError(f"shape={shape} is no shape of a matrix: pass two numbers from 0")
    arrays = _checked(rows, columns, values)
    pieces = [tuple((x.name, i) for x in arrays) for i in range(arrays[0].numblocks[0])]
    indices = zip(arrays[0].to_delayed(), arrays[1].to_delayed(), strict=True)
    spread = surveyed([delayed(_survey)(*part, shape) for part in indices])
    dtype = check_dtype(arrays[2].dtype)
    count = block_count(blocks, spread.entries, dtype.itemsize)
    return of_pieces(
        _triplets,
        [tuple(map(TaskRef, piece)) for piece in pieces],
        name="csr-coo",
        shape=shape,
        dtype=dtype,
        blocks=row_blocks(spread, shape[0], count),
        dependencies=arrays,
    )


def _checked(rows: Any, columns: Any, values: Any) -> tuple[da.Array, da.Array, da.Array]:
    """The three arrays, cut alike."""
    arrays = [da.asarray(x) for x in (rows, columns, values)]
    for name, x in zip(("rows", "columns", "values"), arrays, strict=True):
        if x.ndim != 1 or x.shape != arrays[0].shape:
            raise ArrayError(
                f"{name} has shape {x.shape} and rows {arrays[0].shape}: triplets are three arrays of one dimension "
                f"and one length, of known chunks: call compute_chunk_sizes() where those are not"
            )
        if name != "values" and x.dtype.kind not in "iu":
            raise DTypeError(f"{name} has elements of type {x.dtype}: indices are integers")
    check_dtype(arrays[2].dtype)
    chunks = arrays[2].chunks
    return arrays[0].rechunk(chunks), arrays[1].rechunk(chunks), arrays[2]


def _survey(rows: Any, columns: Any, shape: tuple[int, int]) -> Survey:
    (piece,) = _triplets(rows, columns, rows)
    for name, indices, length in (("row", piece.rows, shape[0]), ("column", piece.columns, shape[1])):
        outside = (indices < 0) | (indices >= length)
        if outside.any():
            first = int(np.argmax(outside))
            raise ArrayError(
                f"the triplet ({piece.rows[first]}, {piece.columns[first]}) lies outside a matrix of shape {shape}: "
                f"{name}s go from 0 to {length - 1}"
            )
    return survey([piece], shape)


def _triplets(rows: Any, columns: Any, values: Any) -> Iterator[Triplets]:
    yield Triplets(_indices(rows), _indices(columns), _on_host(values))


def _indices(x: Any) -> NDArray[Any]:
    found = _on_host(x)
    # Others cannot be counted with: the numbers of later rows do not fit shorter types.
    return found if found.dtype in (np.int32, np.int64) else found.astype(np.int64)


def _on_host(x: Any) -> NDArray[Any]:
    return link.download(x) if backend.is_device_array(x) else np.asarray(x)
