"""How a row block's product is shared out among a GPU's threads: found out once a block."""

import functools
from dataclasses import dataclass
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
        numbers = places(indptr[1:] > indptr[:-1], indptr.dtype)
        # Rows between have no entries: each begins where the one before ends.
        indptr = cupy.concatenate([indptr[numbers], indptr[-1:]])
        rows, found = numbers.size, profile(indptr)
    choose = functools.partial(
        csr_choice.lanes, rows, multiprocessors=multiprocessors(), near=not remembered(block, lie).far
    )
    lanes = choose(found.entries, found.slots, found.longest)
    long = None
    if lanes is None and found.longest > csr_choice.LONG:
        long = long_rows(block, csr_choice.LONG)
        found = profile(indptr, csr_choice.LONG)
        lanes = choose(found.entries, found.slots, found.longest, uneven=csr_choice.UNEVEN_REST)
    return None if lanes is None else Schedule(lanes, numbers, indptr[:-1], indptr[1:], found.longest, long)


def long_rows(block: Any, limit: int) -> LongRows:
    """The rows of more than `limit` entries."""
    indptr, indices, _ = arrays(block)
    lengths = cupy.diff(indptr)
    numbers = places(lengths > limit, indices.dtype)
    counts = -(-lengths[numbers].astype(np.int64) // PIECE)
    firsts = cupy.concatenate([cupy.zeros(1, np.int64), cupy.cumsum(counts)])
    return LongRows(numbers, firsts, int(firsts[-1]))


def places(these: Any, dtype: np.dtype[Any]) -> Any:
    """Where `these` are true, as ``cupy.flatnonzero``, in whose kernel compute-sanitizer finds races."""
    counted = cupy.cumsum(these, dtype=dtype)
    return cupy.searchsorted(counted, cupy.arange(1, int(counted[-1]) + 1, dtype=dtype)).astype(dtype)


def cuts(block: Any, itemsize: int) -> Any:
    """Where rows pass from one panel of columns into the next, shape (panels - 1, rows); None for all in one panel.

    Entries of x are of `itemsize` bytes; see `csr_choice.panels`.
    """
    plan = remembered(block, schedule)
    if plan is None or plan.numbers is not None or plan.long is not None:
        return None
    rows, columns = block.shape
    panels = csr_choice.panels(rows, block.nnz, columns * itemsize, cache_nbytes())
    columns_lie = remembered(block, lie)
    if panels == 1 or not (columns_lie.far and columns_lie.wide):
        return None
    indptr, indices, _ = arrays(block)
    found = cupy.empty((panels - 1, rows), indices.dtype)
    kernel("csr_panels", "csr_panels", indices.dtype.name)(
        (-(-rows // THREADS), panels - 1),
        (THREADS,),
        (np.int64(rows), np.int64(columns), np.int32(panels), indptr, indices, found),
    )
    return found


@dataclass(frozen=True, slots=True)
class Lie:
    """How columns lie.

    Attributes
    ----------
    far
        Whether most rows begin far from where the next one does.
    wide
        Whether most reach over most columns.
    """

    far: bool
    wide: bool


def lie(block: Any) -> Lie:
    """Learnt from rows here and there."""
    rows, columns = block.shape
    if rows < 2:
        return Lie(far=False, wide=False)
    at = cupy.arange(0, rows - 1, -(-(rows - 1) // SAMPLES))
    begin, end, stop = (block.indptr[at + step] for step in range(3))
    some = (begin < end) & (end < stop)
    first, last, below = (block.indices[cupy.minimum(place, block.nnz - 1)] for place in (begin, end - 1, end))
    wide = some & (last - first >= columns // 2)
    far = some & (abs(below - first) > FAR)
    all_of_them, those_wide, those_far = (int(cupy.count_nonzero(these)) for these in (some, wide, far))
    return Lie(far=2 * those_far > all_of_them, wide=2 * those_wide > all_of_them)
