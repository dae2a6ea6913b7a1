"""From triplets in pieces, in any order, to row blocks: surveyed in one pass, cut and put together in a second."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import getitem
from typing import Any

import numpy as np
from dask._task_spec import List, Task, TaskRef, Tuple
from dask.base import compute, tokenize
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from overspill.sparse.block import Block
from overspill.sparse.matrix import CSRMatrix, of_function
from overspill.sparse.partition import balanced
from overspill.storage.triplets import Triplets

MOST_BINS = 2**16
"""Rows are counted in so many bins of neighbours, so that a survey takes 1.5 MiB however tall the matrix."""


FAN_IN = 8
"""Surveys that one task merges."""


@dataclass(frozen=True, slots=True)
class Survey:
    """How triplets spread over a matrix, bin by bin of `bin_rows` rows.

    Attributes
    ----------
    entries
        How many the source has; of a symmetric file fewer than triplets.
    bin_rows
        Rows of each bin but the last, which may have fewer.
    counts
        Triplets in each bin.
    first, stop
        The first column of each bin with a triplet, and the one after the last; int64's largest and 0 if there is none.
    """

    entries: int
    bin_rows: int
    counts: NDArray[np.int64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]


def survey(pieces: Iterable[Triplets], shape: tuple[int, int]) -> Survey:
    """How the triplets of all `pieces` spread over a matrix of `shape`.

    Examples
    --------
    >>> piece = Triplets(np.array([0, 2, 2]), np.array([5, 1, 3]), np.ones(3))
    >>> survey([piece], (3, 6)).counts
    array([1, 0, 2])
    """
    bin_rows = max(1, -(-shape[0] // MOST_BINS))
    bins = -(-shape[0] // bin_rows)
    entries = 0
    counts, stop = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    first = np.full(bins, np.iinfo(np.int64).max)
    for piece in pieces:
        entries += len(piece.rows)
        where = piece.rows // bin_rows
        counts += np.bincount(where, minlength=bins)
        np.minimum.at(first, where, piece.columns.astype(np.int64))
        np.maximum.at(stop, where, piece.columns.astype(np.int64) + 1)
    return Survey(entries, bin_rows, counts, first, stop)


def merged(surveys: Sequence[Survey]) -> Survey:
    """The survey of what `surveys` of one matrix saw together."""
    return Survey(
        sum(each.entries for each in surveys),
        surveys[0].bin_rows,
        counts=np.stack([each.counts for each in surveys]).sum(axis=0),
        first=np.stack([each.first for each in surveys]).min(axis=0),
        stop=np.stack([each.stop for each in surveys]).max(axis=0),
    )


def surveyed(parts: Sequence[Delayed]) -> Survey:
    """The survey of what the surveys `parts` saw together, computed now, on the scheduler in use."""
    results = list(parts)
    while len(results) > 1:
        groups = (results[start : start + FAN_IN] for start in range(0, len(results), FAN_IN))
        results = [delayed(merged)(group) for group in groups]
    (found,) = compute(results[0])
    whole: Survey = found
    return whole


def row_blocks(spread: Survey, rows: int, parts: int) -> tuple[Block, ...]:
    """`rows` rows cut into about `parts` blocks of like many triplets, each with the window that holds them."""
    blocks, start, row = [], 0, 0
    for bins in balanced(spread.counts, parts):
        part = slice(start, start + bins)
        stop_row = min(rows, (start + bins) * spread.bin_rows)
        stop = int(spread.stop[part].max(initial=0))
        blocks.append(Block(stop_row - row, (int(spread.first[part].min()), stop) if stop else (0, 0)))
        start, row = start + bins, stop_row
    return tuple(blocks)


def of_pieces(
    read: Callable[..., Iterable[Triplets]],
    arguments: Sequence[tuple[Any, ...]],
    *,
    name: str,
    shape: tuple[int, int],
    dtype: Any,
    blocks: Sequence[Block],
    dependencies: Sequence[Any] = (),
) -> CSRMatrix:
    """The matrix of all triplets that ``read(*arguments[i])`` yields, those of one place summed.

    Task references among the arguments stand for results of tasks of the Dask collections `dependencies`.

    Each piece is read once and cut along the rows of `blocks`; a block's task puts its parts of all pieces together. So
    all triplets are held, or spilled, until the last piece is read.
    """
    token = tokenize(read, arguments, shape, np.dtype(dtype).str, tuple(blocks))
    cut, part = f"cut-{name}-{token}", f"part-{name}-{token}"
    cuts = tuple(np.cumsum([block.rows for block in blocks])[:-1].tolist())
    layer: dict[Hashable, Task] = {}
    for piece, given in enumerate(arguments):
        layer[cut, piece] = Task((cut, piece), cut_up, read, Tuple(*given), cuts)
        for block in range(len(blocks)):
            key = (part, piece, block)
            layer[key] = Task(key, getitem, TaskRef((cut, piece)), block)
    first_rows = (0, *cuts)
    gathered = [
        (List(*(TaskRef((part, piece, number)) for piece in range(len(arguments)))), first_rows[number], block, dtype)
        for number, block in enumerate(blocks)
    ]
    graph = HighLevelGraph.from_collections(part, MaterializedLayer(layer), dependencies=list(dependencies))
    pieces = Delayed((part, 0, 0), graph, layer=part)
    return of_function(assembled, gathered, name=name, shape=shape, dtype=dtype, blocks=blocks, dependencies=[pieces])


def cut_up(read: Callable[..., Iterable[Triplets]], given: tuple[Any, ...], cuts: tuple[int, ...]) -> list[Triplets]:
    """What `read` yields, one part for the rows before each of `cuts`, and one for those after the last."""
    collected: list[list[Triplets]] = [[] for _ in range(len(cuts) + 1)]
    for piece in read(*given):
        if not cuts:
            collected[0].append(piece)
            continue
        block = np.searchsorted(np.array(cuts), piece.rows, side="right")
        # Few blocks fit a short type, which NumPy sorts by radix, in linear time.
        order = np.argsort(block.astype(np.uint16 if len(cuts) < 2**16 else np.int64), kind="stable")
        ordered = Triplets(*(array[order] for array in piece))
        stops = np.cumsum(np.bincount(block, minlength=len(cuts) + 1)).tolist()
        for number, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
            if start < stop:
                collected[number].append(Triplets(*(array[start:stop] for array in ordered)))
    return [joined(parts) for parts in collected]


def joined(parts: Sequence[Triplets]) -> Triplets:
    """The triplets of all `parts`, in order."""
    if not parts:
        return Triplets(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
    return Triplets(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def assembled(parts: Sequence[Triplets], first_row: int, block: Block, dtype: Any) -> csr_array:
    """The row block of all `parts`, whose rows and columns count from those of the matrix; the sum where they meet."""
    rows, columns, values = joined([part for part in parts if len(part.rows)])
    coordinates = (rows - first_row, columns - block.columns[0])
    result = coo_array((values.astype(dtype, copy=False), coordinates), shape=block.shape).tocsr()
    result.sum_duplicates()
    return result
