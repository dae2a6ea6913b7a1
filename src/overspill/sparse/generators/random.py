"""Matrices with entries at random places, uniformly spread."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse import csr_array

from overspill.errors import UsageError
from overspill.sparse.block import Block
from overspill.sparse.generators.chunks import chunk_rows, chunks_of, even_rows, generator
from overspill.sparse.matrix import CSRMatrix, of_function
from overspill.sparse.partition import block_count


def random(
    shape: tuple[int, int],
    *,
    nnz_per_row: int | None = None,
    density: float | None = None,
    dtype: Any = np.float64,
    seed: int = 0,
    blocks: int | None = None,
) -> CSRMatrix:
    """A matrix with entries at random places, distinct in each row, and random values from 0 to 1.

    Parameters
    ----------
    shape
        Rows and columns.
    nnz_per_row
        Entries of every row, at columns of which each choice is equally likely.
    density
        In place of `nnz_per_row`: how likely each element is an entry, all on their own.
    dtype
        Of the entries; complex ones have real and imaginary parts from 0 to 1.
    seed
        Which matrix; the same one however many `blocks` there are, and on every machine.
    blocks
        How many row blocks to make; about one for each 256 MiB unless given.

    Returns
    -------
    CSRMatrix
        Lazy; with `nnz_per_row` the number of stored entries is known.

    Raises
    ------
    UsageError
        If not one of `nnz_per_row` and `density` is given, or it does not fit `shape`.

    Notes
    -----
    Rows are made in chunks, each by a Philox generator with a key of its own [1]_. Columns that a row has drawn
    twice are drawn again until they are distinct, which favours none.

    .. [1] J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC11 (2011).

    Examples
    --------
    >>> A = random((1000, 500), nnz_per_row=7, seed=1)
    >>> A.nnz, A.to_scipy().sum(axis=1).shape
    (7000, (1000,))
    """
    rows, columns = map(int, shape)
    if min(rows, columns) < 0:
        raise UsageError(f"shape={(rows, columns)} is no shape: pass two numbers from 0")
    if (nnz_per_row is None) == (density is None):
        raise UsageError(f"nnz_per_row={nnz_per_row} and density={density}: give one of them")
    if nnz_per_row is not None and not 0 <= nnz_per_row <= columns:
        raise UsageError(f"nnz_per_row={nnz_per_row} is not from 0 to the {columns} columns")
    if density is not None and not 0 <= density <= 1:
        raise UsageError(f"density={density} is not from 0 to 1")
    mean = columns * density if density is not None else float(nnz_per_row or 0)
    dtype = np.dtype(dtype)
    number = block_count(blocks, int(rows * mean), dtype.itemsize)
    described = []
    arguments = []
    for part in even_rows(rows, number):
        nnz = None if nnz_per_row is None else nnz_per_row * len(part)
        described.append(Block(len(part), (0, columns), nnz))
        arguments.append((part.start, part.stop, rows, columns, nnz_per_row, density, dtype, seed))
    return of_function(_rows, arguments, name="random-csr", shape=(rows, columns), dtype=dtype, blocks=described)


def _rows(
    start: int,
    stop: int,
    rows: int,
    columns: int,
    nnz_per_row: int | None,
    density: float | None,
    dtype: np.dtype[Any],
    seed: int,
) -> csr_array:
    """The rows from `start` to `stop`, from all chunks that have some of them."""
    made = [csr_array((0, columns), dtype=dtype)]
    size = chunk_rows(columns * density if density is not None else float(nnz_per_row or 0))
    for number, here, wanted in chunks_of(start, stop, rows, size):
        rng = generator(seed, number)
        if density is None:
            counts = np.full(len(here), nnz_per_row, np.int64)
        else:
            counts = rng.binomial(columns, density, len(here))
        made.append(_chunk(rng, counts, columns, dtype)[wanted])
    return csr_array(scipy.sparse.vstack(made, format="csr"))


def _chunk(rng: np.random.Generator, counts: NDArray[np.int64], columns: int, dtype: np.dtype[Any]) -> csr_array:
    indices = _distinct(rng, counts, columns)
    values = rng.random(len(indices))
    data = (values + 1j * rng.random(len(indices)) if dtype.kind == "c" else values).astype(dtype)
    index = np.int32 if columns <= np.iinfo(np.int32).max else np.int64
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(index)
    return csr_array((data, indices.astype(index), indptr), shape=(len(counts), columns))


def _distinct(rng: np.random.Generator, counts: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
    """For each row as many distinct columns, in order, as `counts` says; row after row."""
    if 2 * counts.sum() > len(counts) * columns:
        left_out = np.ones(len(counts) * columns, bool)
        left_out[_places(rng, columns - counts, columns)] = False
        return np.flatnonzero(left_out) % columns
    return _places(rng, counts, columns) % columns


def _places(rng: np.random.Generator, counts: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
    """Distinct columns for each row, each plus the number of its row times `columns`."""
    row_starts = np.repeat(np.arange(len(counts)) * columns, counts)
    places = row_starts + rng.integers(max(1, columns), size=len(row_starts))
    places.sort()
    while len(again := np.flatnonzero(places[1:] == places[:-1]) + 1):
        places[again] = row_starts[again] + rng.integers(columns, size=len(again))
        places.sort()
    return places
