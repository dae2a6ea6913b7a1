"""Where a sparse matrix is cut into row blocks: evenly by what is stored, not by rows."""

import numpy as np
from numpy.typing import NDArray

from overspill.errors import ArrayError
from overspill.planning.resources import active

BLOCK_NBYTES = 2**28
"""What a block takes unless told otherwise: far more than its task costs, and several fit on a GPU."""


def balanced(row_nnz: NDArray[np.integer], parts: int) -> tuple[int, ...]:
    """Rows of each of `parts` parts, so that stored entries and rows together are spread evenly.

    Parameters
    ----------
    row_nnz
        Stored entries of each row.
    parts
        How many; fewer where there are fewer rows, one where there are none.

    Returns
    -------
    tuple of int
        At least one row each, but for a matrix without rows.

    Examples
    --------
    >>> balanced(np.array([9, 0, 0, 1, 1, 1, 1, 1]), 2)
    (2, 6)
    """
    rows = len(row_nnz)
    parts = max(1, min(parts, rows))
    # A row costs about as much as an entry: its pointer is read, its element of the product written.
    until = np.arange(1, rows + 1, dtype=np.int64)
    until += np.cumsum(row_nnz, dtype=np.int64)
    total = int(until[-1]) if rows else 0
    numbers = np.arange(1, parts)
    ends = np.searchsorted(until, numbers * (total / parts), side="left") + 1
    ends = np.maximum.accumulate(ends - numbers) + numbers
    ends = np.minimum(ends, rows - parts + numbers)
    return tuple(np.diff(ends, prepend=0, append=rows).tolist())


def parts_of(nnz: int, itemsize: int) -> int:
    """How many blocks `nnz` entries of `itemsize` bytes make: about 256 MiB each, and one or more a worker.

    Examples
    --------
    >>> parts_of(10**9, 8)
    45
    """
    resources = active()
    return max(-(-nnz * (itemsize + 4) // BLOCK_NBYTES), resources.workers if resources else 1)


def block_count(blocks: int | None, nnz: int, itemsize: int) -> int:
    """How many row blocks to make: `blocks`, or what `parts_of` says if that is None.

    Raises
    ------
    ArrayError
        If `blocks` is not positive.
    """
    if blocks is None:
        return parts_of(nnz, itemsize)
    if blocks < 1:
        raise ArrayError(f"blocks={blocks} is no count of row blocks: pass 1 or more")
    return blocks
