"""Sparse matrices from files that other programs write: Matrix Market text, and SciPy's ``.npz``."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse
from dask.delayed import delayed

from overspill.errors import DTypeError, StorageError
from overspill.sparse.from_memory import from_scipy
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.partition import block_count
from overspill.sparse.triplets import Survey, of_pieces, row_blocks, survey, surveyed
from overspill.storage import matrix_market, node
from overspill.storage.matrix_market import Part
from overspill.storage.matrix_market_head import MatrixMarket, open_matrix_market
from overspill.storage.triplets import Triplets


def from_matrix_market(path: str | os.PathLike[str], *, blocks: int | None = None, dtype: Any = None) -> CSRMatrix:
    """The matrix of a Matrix Market file of coordinates, ``.mtx`` or ``.mtx.gz``, whose text need not fit in memory.

    The file is read twice: once now, on the scheduler in use, to check every line and to find where to cut the matrix,
    and again when the matrix is computed, when its entries, as triplets, lie in the workers' memory or spill until
    the last part of the file is read. Plain text is read by many tasks, 64 MiB each; compressed text only from its
    beginning, by one task that holds all entries: decompress first what a worker's memory cannot hold.

    Parameters
    ----------
    path
        A file that every worker sees.
    blocks
        How many row blocks to make; about one for each 256 MiB unless given.
    dtype
        Of the matrix; complex128 or float64, as the file's field has it, unless given. Entries of ``pattern`` files are
        1, integers become float64.

    Returns
    -------
    CSRMatrix
        Entries at one place are summed, as SciPy sums them. The other triangle of a symmetric, skew-symmetric or
        hermitian matrix is filled in. NaN and infinite values are kept, as SciPy keeps them.

    Raises
    ------
    StorageError
        If the file cannot be read or is malformed: the sentence names the file, the line and what to do. Refused are
        also what SciPy lets pass: numbers with something behind them, more numbers in a line than its field has,
        entries above the diagonal of a symmetric matrix, a diagonal in a skew-symmetric one, integers beyond 2**53.
    DTypeError
        If the values cannot be converted to `dtype`, complex ones to real.
    ArrayError
        If `blocks` is no count.

    Examples
    --------
    >>> import tempfile, scipy.io, scipy.sparse
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     scipy.io.mmwrite(f"{directory}/a.mtx", scipy.sparse.eye_array(3) * 2.5)
    ...     A = from_matrix_market(f"{directory}/a.mtx")
    ...     print(A.shape, A.dtype, A.to_scipy().diagonal())
    (3, 3) float64 [2.5 2.5 2.5]
    """
    source = open_matrix_market(path)
    target = np.dtype(source.dtype if dtype is None else dtype)
    if not np.can_cast(source.dtype, target, "same_kind"):
        raise DTypeError(f"{path} holds {source.field} values, which {target} does not: ask for {source.dtype}")
    parts = matrix_market.parts(source)
    spread = surveyed([delayed(_survey)(source, part) for part in parts])
    matrix_market.check_count(source, spread.entries)
    number = block_count(blocks, int(spread.counts.sum()), target.itemsize)
    return of_pieces(
        matrix_market.entries_again,
        [(source, part) for part in parts],
        name="matrix-market",
        shape=source.shape,
        dtype=target,
        blocks=row_blocks(spread, source.shape[0], number),
    )


def from_npz(path: str | os.PathLike[str], *, blocks: int | None = None) -> CSRMatrix:
    """The matrix that `scipy.sparse.save_npz` wrote to `path`, in any of SciPy's formats; it is read into memory now.

    Parameters
    ----------
    path
        A file, seen by this process.
    blocks
        As in `CSRMatrix.from_scipy`.

    Raises
    ------
    StorageError
        If the file cannot be read, or holds no matrix of SciPy's.
    ArrayError, DTypeError
        As `CSRMatrix.from_scipy` raises them.

    Examples
    --------
    >>> import tempfile, scipy.sparse
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     scipy.sparse.save_npz(f"{directory}/a.npz", scipy.sparse.eye_array(4, format="csc"))
    ...     print(from_npz(f"{directory}/a.npz").shape)
    (4, 4)
    """
    location = node.local_path(path)
    try:
        A = scipy.sparse.load_npz(location)
    except (ValueError, KeyError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise StorageError(
            f"{location} holds no sparse matrix as scipy.sparse.save_npz writes it ({node.brief(error)}): save it anew"
        ) from error
    except OSError as error:
        raise StorageError(f"{location} cannot be read: {error.strerror or node.brief(error)}") from error
    return from_scipy(A, blocks)


def _survey(source: MatrixMarket, part: Part) -> Survey:
    entries = 0

    def counted() -> Iterator[Triplets]:
        nonlocal entries
        for count, triplets in matrix_market.entries(source, part):
            entries += count
            yield triplets

    found = survey(counted(), source.shape)
    return replace(found, entries=entries)
