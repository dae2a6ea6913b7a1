"""How a row block's product is shared out among a GPU's threads: found out once a block."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cupy
import numpy as np

from overspill.kernels import csr_choice
from overspill.kernels.compiled import THREADS, cache_nbytes, kernel, multiprocessors
from overspill.kernels.csr_facts import arrays, profile, remembered

PIECE = 16 * THREADS
"""Entries of a long row that a block of threads takes."""

SAMPLES = 2**16
"""Rows that are looked at, at most, to learn how columns lie."""

FAR = 4096
"""Columns between the entries of a row and of the next that are far from each other."""


@dataclass(frozen=True, slots=True)
class LongRows:
    """Rows that are cut into pieces of `PIECE` entries.

    Attributes
    ----------
    numbers
        Which rows.
    firsts
        The pieces before each of them, and all at the end.
    pieces
        All, as a number of the host.
    """

    numbers: Any
    firsts: Any
    pieces: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Lanes for each row.

    Attributes
    ----------
    lanes
        Neighbouring lanes of a warp that share a row.
    numbers
        Which rows are meant, where the others have no entries; None for all.
    begins, ends
        Where the entries of each of these begin and end.
    limit
        Entries of the longest of them but for `long`.
    long
        Longer ones, if there are any.
    """

    lanes: int
    numbers: Any
    begins: Any
    ends: Any
    limit: int
    long: LongRows | None = None


def evenly(block: Any, lanes: int) -> Schedule:
    """So many lanes for each row, whatever the block."""
    indptr, indices, _ = arrays(block)
    return Schedule(lanes, None, indptr, indptr[1:], int(np.iinfo(indices.dtype).max))


def schedule(block: Any) -> Schedule | None:
    """What suits the block; None for merge-path, where rows are too uneven for any number of lanes."""
    indptr, _, _ = arrays(block)
    rows, numbers, found = block.shape[0], None, profile(indptr)
    if csr_choice.worth_listing(rows, found.occupied):
        numbers = cupy.flatnonzero(indptr[1:] > indptr[:-1]).astype(indptr.dtype)
        # Rows between have no entries: each begins where the one before ends.
        indptr = cupy.concatenate([indptr[numbers], indptr[-1:]])
        rows, found = numbers.size, profile(indptr)
    lanes = csr_choice.lanes(rows, block.nnz, found.slots, found.longest, multiprocessors())
    long = None
    if lanes is None and found.longest > csr_choice.LONG:
        long = long_rows(block, csr_choice.LONG)
        found = profile(indptr, csr_choice.LONG)
        lanes = csr_choice.lanes(rows, found.entries, found.slots, found.longest, multiprocessors())
    return None if lanes is None else Schedule(lanes, numbers, indptr[:-1], indptr[1:], found.longest, long)


def long_rows(block: Any, limit: int) -> LongRows:
    """The rows of more than `limit` entries."""
    indptr, indices, _ = arrays(block)
    lengths = cupy.diff(indptr)
    numbers = cupy.flatnonzero(lengths > limit)
    counts = -(-lengths[numbers].astype(np.int64) // PIECE)
    firsts = cupy.concatenate([cupy.zeros(1, np.int64), cupy.cumsum(counts)])
    return LongRows(numbers.astype(indices.dtype), firsts, int(firsts[-1]))


def cuts(block: Any, itemsize: int) -> Any:
    """Where rows pass from one panel of columns into the next, shape (panels - 1, rows); None for all in one panel.

    Entries of x are of `itemsize` bytes; see `csr_choice.panels`.
    """
    plan = remembered(block, schedule)
    if plan is None or plan.numbers is not None or plan.long is not None:
        return None
    rows, columns = block.shape
    panels = csr_choice.panels(rows, block.nnz, columns * itemsize, cache_nbytes())
    if panels == 1 or not scattered(block):
        return None
    indptr, indices, _ = arrays(block)
    found = cupy.empty((panels - 1, rows), indices.dtype)
    kernel("csr_panels", "csr_panels", indices.dtype.name)(
        (-(-rows // THREADS), panels - 1),
        (THREADS,),
        (np.int64(rows), np.int64(columns), np.int32(panels), indptr, indices, found),
    )
    return found


def scattered(block: Any) -> bool:
    """Whether most rows reach over most columns, and begin far from where the next one does."""
    rows, columns = block.shape
    if rows < 2:
        return False
    at = cupy.arange(0, rows - 1, -(-(rows - 1) // SAMPLES))
    begin, end, stop = (block.indptr[at + step] for step in range(3))
    some = (begin < end) & (end < stop)
    first, last, below = (block.indices[cupy.minimum(place, block.nnz - 1)] for place in (begin, end - 1, end))
    wide = last - first >= columns // 2
    far = abs(below - first) > FAR
    return bool(2 * cupy.count_nonzero(some & wide & far) > cupy.count_nonzero(some))


def panels(block: Any, plan: Schedule, itemsize: int) -> tuple[int, list[tuple[Any, Any]]]:
    """Lanes for each row, and where rows' entries begin and end in each panel of columns."""
    found = remembered(block, cuts, itemsize)
    if found is None:
        return plan.lanes, [(plan.begins, plan.ends)]
    lanes = csr_choice.lanes_in_panels(block.shape[0], block.nnz, len(found) + 1)
    return lanes, list(pairwise([plan.begins, *found, plan.ends]))
