"""What is known of a row block of a sparse matrix before it is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from overspill.planning.sparse import block_nbytes

RowBlock: TypeAlias = Any
"""A `scipy.sparse.csr_array` on the host, a `cupyx.scipy.sparse.csr_matrix` on a device; indices sorted, distinct."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is known of a row block before it is computed.

    Attributes
    ----------
    rows
        Number of rows.
    columns
        Its window: the first column of the matrix that it may have entries in, and the one after the last. Its column
        indices count from the first.
    nnz
        Stored entries; None until it is computed.
    """

    rows: int
    columns: tuple[int, int]
    nnz: int | None = None

    @property
    def width(self) -> int:
        """Columns of the window."""
        return self.columns[1] - self.columns[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the block itself."""
        return self.rows, self.width

    def nbytes(self, itemsize: int) -> int | None:
        """Bytes of it with entries of `itemsize` bytes; None until it is computed."""
        return None if self.nnz is None else block_nbytes(self.rows, self.width, self.nnz, itemsize)


def united(windows: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The smallest window that holds all of `windows`; an empty one where they all are.

    Examples
    --------
    >>> united([(3, 5), (0, 0), (4, 9)])
    (3, 9)
    """
    full = [window for window in windows if window[0] < window[1]]
    return (min(first for first, _ in full), max(stop for _, stop in full)) if full else (0, 0)
