"""What is known of a row block of a sparse matrix before it is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from overspill.errors import ArrayError
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


def total(counts: Sequence[int | None]) -> int | None:
    """Their sum; None if one is not known.

    Examples
    --------
    >>> total([1, 2]), total([1, None])
    (3, None)
    """
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def check_blocks(shape: tuple[int, int], blocks: Sequence[Block]) -> None:
    """Refuse blocks whose rows are not those of a matrix of `shape`, or whose windows reach over its columns."""
    if not blocks or sum(block.rows for block in blocks) != shape[0]:
        rows = " + ".join(str(block.rows) for block in blocks) or "no"
        raise ArrayError(f"blocks of {rows} rows do not make up a matrix of shape {shape}: name each row once")
    for block in blocks:
        first, stop = block.columns
        if not 0 <= first <= stop <= shape[1]:
            raise ArrayError(f"a block of columns {first} to {stop} reaches out of a matrix of shape {shape}")
