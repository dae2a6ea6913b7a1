"""Entries of a sparse matrix one by one, as files and generators have them."""

from typing import Any, NamedTuple

from numpy.typing import NDArray


class Triplets(NamedTuple):
    """Entries of a matrix, in any order: their rows, columns and values, arrays of one length; indices count from 0."""

    rows: NDArray[Any]
    columns: NDArray[Any]
    values: NDArray[Any]
