"""How a row block's product is shared out among a GPU's threads: found out once a block."""

import functools
from dataclasses import dataclass
from typing import Any

import cupy
import numpy as np

from overspill.kernels import csr_choice
from overspill.kernels.compiled import THREADS, cache_nbytes, kernel, multiprocessors
from overspill.kernels.csr_facts import arrays, profile
from overspill.kernels.csr_known import known

PIECE = 16 * THREADS
"""Entries of a long row that a block of threads takes."""

SAMPLES = 2**16
"""Rows that are looked at, at most, to learn how columns lie."""

FAR = 4096
"""Columns between the entries of a row and of the next that are far from each other."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What suits a block, as far as numbers of the host say it.

    Attributes
    ----------
    lanes
        Neighbouring lanes of a warp that share a row.
    limit
        Entries of the longest row but for long ones.
    listed
        Rows that have entries, where these are listed, else None.
    long, pieces
        Long rows, which are cut, and their pieces of `PIECE` entries; both 0 where there are none.
    """

    lanes: int
    limit: int
    listed: int | None = None
    long: int = 0
    pieces: int = 0


@dataclass(frozen=True, slots=True)
class LongRows:
    """Rows that are cut into pieces.

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
    """A choice, and the arrays that it takes.

    Attributes
    ----------
    lanes, limit
        As in `Choice`.
    numbers
        Which rows are meant, where the others have no entries; None for all.
    begins, ends
        Where the entries of each of these begin and end.
    long
        Long rows, if there are any.
    """

    lanes: int
    limit: int
    numbers: Any
    begins: Any
    ends: Any
    long: LongRows | None = None


def evenly(block: Any, lanes: int) -> Schedule:
    """So many lanes for each row, whatever the block."""
    indptr, indices, _ = arrays(block)
    return Schedule(lanes, int(np.iinfo(indices.dtype).max), None, indptr, indptr[1:])


def choose(block: Any) -> Choice | None:
    """What suits the block; None for merge-path, where rows are too uneven for any number of lanes."""
    indptr, _, _ = arrays(block)
    if block.shape[0] > np.iinfo(indptr.dtype).max:
        return None  # which needs no lists of rows, whose numbers are of the type of indices
    rows, listed, found = block.shape[0], None, profile(indptr)
    if csr_choice.worth_listing(rows, found.occupied):
        rows = listed = found.occupied
        _, indptr = _listed(indptr, listed)
        found = profile(indptr)
    near = not known(block, lie).far
    lanes_for = functools.partial(csr_choice.lanes, rows, multiprocessors=multiprocessors(), near=near)
    lanes = lanes_for(found.entries, found.slots, found.longest)
    if lanes is not None:
        return Choice(lanes, found.longest, listed)
    rest = profile(indptr, csr_choice.LONG)
    long = found.occupied - rest.occupied
    lanes = lanes_for(rest.entries, rest.slots, rest.longest, uneven=csr_choice.UNEVEN_REST) if long else None
    if lanes is None:
        return None
    return Choice(lanes, rest.longest, listed, long, int(_long(block, long)[1][-1]))


def schedule(block: Any) -> Schedule | None:
    """What was chosen, with its arrays; nothing is waited for once the choice is known."""
    choice = known(block, choose)
    if choice is None:
        return None
    indptr, _, _ = arrays(block)
    numbers = None
    if choice.listed is not None:
        numbers, indptr = _listed(indptr, choice.listed)
    long = LongRows(*_long(block, choice.long), choice.pieces) if choice.long else None
    return Schedule(choice.lanes, choice.limit, numbers, indptr[:-1], indptr[1:], long)


def _listed(indptr: Any, count: int) -> tuple[Any, Any]:
    """The `count` rows that have entries, and where these begin; each begins where the one before ends."""
    numbers = _places(indptr[1:] > indptr[:-1], count, indptr.dtype)
    return numbers, cupy.concatenate([indptr[numbers], indptr[-1:]])


def _long(block: Any, count: int) -> tuple[Any, Any]:
    """The `count` long rows, and the pieces before each of them and all at the end."""
    indptr, indices, _ = arrays(block)
    lengths = cupy.diff(indptr)
    numbers = _places(lengths > csr_choice.LONG, count, indices.dtype)
    counts = -(-lengths[numbers].astype(np.int64) // PIECE)
    return numbers, cupy.concatenate([cupy.zeros(1, np.int64), cupy.cumsum(counts)])


def _places(these: Any, count: int, dtype: np.dtype[Any]) -> Any:
    """The `count` places where `these` are true; ``cupy.flatnonzero`` waits, and has races to compute-sanitizer."""
    return cupy.searchsorted(cupy.cumsum(these, dtype=dtype), cupy.arange(1, count + 1, dtype=dtype)).astype(dtype)


def cuts(block: Any, itemsize: int) -> Any:
    """Where rows pass from one panel of columns into the next, shape (panels - 1, rows); None for all in one panel.

    Entries of x are of `itemsize` bytes; see `csr_choice.panels`.
    """
    choice = known(block, choose)
    if choice is None or choice.listed is not None or choice.long:
        return None
    rows, columns = block.shape
    panels = csr_choice.panels(rows, block.nnz, columns * itemsize, cache_nbytes())
    columns_lie = known(block, lie)
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
