"""Which entries of a vector a rank needs of the others for a product, and where it puts them.

Ranks own contiguous rows, and entries of vectors likewise, in their order. A rank's operand is what it needs of lower
ranks, then entries of its own, then what it needs of higher ranks: columns keep their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill import backend

DENSE = 0.5
"""Share of a span from which on it moves whole: gathering entries costs the owner about as much as moving them."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What one rank needs of another's entries.

    Attributes
    ----------
    first
        The first entry, counted from the owner's own first.
    count
        How many are moved.
    entries
        Which, rising, counted likewise; None for all from the first.
    """

    first: int
    count: int
    entries: Any = None


@dataclass(frozen=True, slots=True)
class Halo:
    """What a rank needs of all others.

    Attributes
    ----------
    needs
        By owner; None where nothing is needed, and for the rank itself.
    left, right
        Entries of lower and of higher ranks, together.
    columns
        First column of the matrix that the rank's rows have entries in, and the one after the last.
    shifted
        Whether what is needed, and the rank's own columns between, are all columns from a first to a last: then an
        operand's places are the columns less one number.
    """

    needs: tuple[Needs | None, ...]
    left: int
    right: int
    columns: tuple[int, int]
    shifted: bool


def halo(occupied: Any, first: int, cuts: Sequence[int], rank: int) -> Halo:
    """What `rank`, whose rows have entries in the columns from `first` on where `occupied`, needs of each other rank.

    Parameters
    ----------
    occupied
        NumPy or CuPy array of truth values, of shape (columns,).
    first
        Which column of the matrix its first value is for.
    cuts
        The rows where ranks begin, and their number at the end.
    rank
        Whose needs.

    Examples
    --------
    >>> import numpy as np
    >>> found = halo(np.array([True, True, True, False, True]), 2, (0, 3, 6, 9), 1)
    >>> found.needs[0], found.needs[2], found.shifted
    (Needs(first=2, count=1, entries=None), Needs(first=0, count=1, entries=None), True)
    """
    stop = first + len(occupied)
    needs: list[Needs | None] = []
    for owner in range(len(cuts) - 1):
        begin, end = max(first, cuts[owner]), min(stop, cuts[owner + 1])
        found = None
        if owner != rank and begin < end:
            found = _needs(occupied[begin - first : end - first], begin - cuts[owner], cuts, owner, rank)
        needs.append(found)
    counts = [0 if need is None else need.count for need in needs]
    return Halo(
        tuple(needs), sum(counts[:rank]), sum(counts[rank + 1 :]), (first, stop), _is_one_span(needs, cuts, rank)
    )


def _needs(occupied: Any, offset: int, cuts: Sequence[int], owner: int, rank: int) -> Needs | None:
    """Of one owner: a span up to the owner's end on the side of `rank`, or single entries if these are few."""
    xp: Any = backend.array_namespace(occupied)
    entries = xp.flatnonzero(occupied)
    if entries.size == 0:
        return None
    entries += offset
    begin, end = int(entries[0]), int(entries[-1]) + 1
    if owner < rank:
        end = cuts[owner + 1] - cuts[owner]
    else:
        begin = 0
    if entries.size >= DENSE * (end - begin):
        return Needs(begin, end - begin)
    return Needs(int(entries[0]), int(entries.size), entries)


def _is_one_span(needs: Sequence[Needs | None], cuts: Sequence[int], rank: int) -> bool:
    """Whether the needs of all owners and the rank's own entries follow each other without a gap."""
    spans = [(cuts[rank], cuts[rank + 1])]
    for owner, need in enumerate(needs):
        if need is not None:
            if need.entries is not None:
                return False
            spans.append((cuts[owner] + need.first, cuts[owner] + need.first + need.count))
    spans = sorted(span for span in spans if span[0] < span[1])
    return all(before[1] == after[0] for before, after in pairwise(spans))


def places(halo: Halo, cuts: Sequence[int], rank: int, xp: Any) -> Any:
    """Where each column of ``halo.columns`` lies in an operand of all that the rank needs and all that it has.

    Counted from the rank's own first entry, so that what comes from lower ranks has negative places. Columns that are
    neither needed nor the rank's own have none that means anything.
    """
    first, stop = halo.columns
    found = xp.zeros(stop - first, np.int64)
    place = -halo.left
    for owner, need in enumerate(halo.needs):
        if owner == rank:
            begin, end = max(first, cuts[rank]), min(stop, cuts[rank + 1])
            if begin < end:
                found[begin - first : end - first] = xp.arange(begin - cuts[rank], end - cuts[rank])
            place = cuts[rank + 1] - cuts[rank]
        elif need is not None:
            columns = xp.arange(need.first, need.first + need.count) if need.entries is None else need.entries
            columns = columns + (cuts[owner] - first)
            numbers = xp.arange(place, place + need.count)
            inside = (columns >= 0) & (columns < stop - first)  # a whole span may reach past the columns in use
            found[columns[inside]] = numbers[inside]
            place += need.count
    return found


def needed(needs: Sequence[Needs | None]) -> NDArray[np.int64]:
    """What to tell the owners of `needs`, of shape (ranks, 3): first, count, and whether single entries are meant."""
    rows = [(0, 0, 0) if n is None else (n.first, n.count, n.entries is not None) for n in needs]
    return np.array(rows, np.int64)
