"""How a block's rows are shared out among a GPU's threads, from how long they are: pure integers."""

from collections.abc import Sequence

WIDTHS = (2, 4, 8, 16, 32)
"""Lanes of a warp that a row may be given."""

MORE_LANES = 1.34
"""Lane-steps, against the fewest, that a row of more lanes may take: its loads are of fewer lines. Rows of 5 take 8."""

UNEVEN = 2.5
"""Lane-steps for each row and entry above which merge-path, which takes more instructions for each, is faster."""

RESIDENT_WARPS = 40
"""Warps of the row kernel that a multiprocessor holds."""

ALWAYS_STEPS, DELAY = 32, 8
"""Steps that the longest row may take: so many, and an eighth of those that each resident warp takes for all rows."""


def lanes(rows: int, nnz: int, slots: Sequence[int], longest: int, multiprocessors: int) -> int | None:
    """Lanes for each row, or None where rows are too uneven for any number: merge-path then shares entries out.

    Parameters
    ----------
    rows, nnz
        Of the block.
    slots
        Lane-steps that all rows take with 2, 4, ... 32 lanes each, rows of a warp waiting for its longest.
    longest
        Entries of the longest row.
    multiprocessors
        Of the GPU.

    Examples
    --------
    Sixteen entries in each row:

    >>> lanes(1000, 16_000, [16_000] * 4 + [32_000], 16, 132)
    16
    """
    fewest = min(slots)
    width, steps = max(
        (width, steps) for width, steps in zip(WIDTHS, slots, strict=True) if steps <= MORE_LANES * fewest
    )
    at_once = 32 * RESIDENT_WARPS * multiprocessors  # lane-steps that take the time of one
    even = steps <= UNEVEN * (rows + nnz) + at_once
    allowed = ALWAYS_STEPS + steps // (at_once * DELAY)
    return width if even and -(-longest // width) <= allowed else None
