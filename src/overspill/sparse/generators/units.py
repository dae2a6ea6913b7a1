"""A grid's points in units of consecutive rows, and the pattern of a stencil's entries in such a unit.

A unit is a part of a line of the grid, or some lines, or some planes. Two of the same size have the same entries, their
columns shifted, unless a neighbour lies beyond the grid's edge for a point of the one only: so there are few patterns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNIT_ENTRIES = 2**16
"""Entries of a unit at most, about: its pattern stays in the core's cache, where it is copied from."""

SMALL_UNIT_ENTRIES = 2**12
"""A smaller unit takes longer to find than to make without a pattern."""

SHARE = 4
"""A larger unit has no more than such a share of the rows wanted, lest most of a pattern be made in vain."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Points of a grid that form a box, and consecutive rows.

    Attributes
    ----------
    first
        The first one's row.
    corner
        Where that point lies along each axis.
    lengths
        Points of the box along each axis.
    """

    first: int
    corner: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many points they are."""
        return prod(self.lengths)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The entries of a unit's rows, in CSR: columns are counted from the unit's first row, so some are negative."""

    indptr: NDArray[Any]
    columns: NDArray[Any]
    values: NDArray[Any]


def units(shape: Sequence[int], start: int, stop: int, row_entries: int) -> Iterator[Unit]:
    """The units that hold the rows from `start` to `stop`, in order; the first and the last may hold others too.

    Examples
    --------
    >>> for unit in units((2, 3, 4), 3, 24, row_entries=SMALL_UNIT_ENTRIES // 8):
    ...     print(unit)
    Unit(first=0, corner=(0, 0, 0), lengths=(1, 2, 4))
    Unit(first=8, corner=(0, 2, 0), lengths=(1, 1, 4))
    Unit(first=12, corner=(1, 0, 0), lengths=(1, 2, 4))
    Unit(first=20, corner=(1, 2, 0), lengths=(1, 1, 4))
    """
    share = (stop - start) * row_entries // SHARE
    most_rows = max(1, min(UNIT_ENTRIES, max(SMALL_UNIT_ENTRIES, share)) // max(1, row_entries))
    axis = next(axis for axis in range(len(shape)) if prod(shape[axis + 1 :]) <= most_rows)
    side, below = shape[axis], prod(shape[axis + 1 :])
    parts = max(1, -(-side * below // most_rows))
    length = -(-side // parts)
    row = start
    while row < stop:
        outer, place = divmod(row // below, side)
        at = place // length * length
        *before, _ = np.unravel_index(outer, (*shape[:axis], 1))
        unit = Unit(
            (outer * side + at) * below,
            (*map(int, before), at, *(0 for _ in shape[axis + 1 :])),
            (*(1 for _ in before), min(length, side - at), *shape[axis + 1 :]),
        )
        yield unit
        row = unit.first + unit.rows


def spans(unit: Unit, shape: Sequence[int], offsets: NDArray[np.int64]) -> tuple[int, ...]:
    """Which of the unit's points have a neighbour in the grid at each of `offsets`: again a box for each.

    Returns
    -------
    tuple of int
        Where in the unit the boxes begin along each axis, and then where they end. The same of units that have the same
        pattern.
    """
    first = -np.array(unit.corner) - offsets
    return tuple(np.minimum(np.maximum([first, first + shape], 0), unit.lengths).ravel().tolist())


def pattern(
    distances: NDArray[np.int64],
    values: NDArray[Any],
    index: np.dtype[Any],
    lengths: tuple[int, ...],
    inside: tuple[int, ...],
) -> Pattern:
    """The pattern of all units of the same lengths and spans.

    Parameters
    ----------
    distances
        Rows from a row to its neighbours, in rising order.
    values
        The entries for them.
    index
        Integers for `Pattern.indptr` and `Pattern.columns`.
    lengths
        Of the units, along each axis.
    inside
        Their `spans`.
    """
    begin, end = np.reshape(inside, (2, len(distances), len(lengths)))
    present = np.ones((1, len(distances)), bool)
    for axis, length in enumerate(lengths):
        at = np.arange(length)[:, np.newaxis]
        along = (at >= begin[:, axis]) & (at < end[:, axis])
        present = (present[:, np.newaxis] & along).reshape(len(present) * length, len(distances))
    rows, neighbours = present.nonzero()
    counts = np.count_nonzero(present, axis=1)
    return Pattern(
        np.concatenate([[0], np.cumsum(counts)]).astype(index),
        (rows + distances[neighbours]).astype(index),
        values[neighbours],
    )
