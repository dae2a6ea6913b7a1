"""How a block's rows are shared out among a GPU's threads, from how long they are: pure integers."""

from collections.abc import Sequence

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Lanes of a warp that a row may be given."""

PANEL_WIDTHS = (4, 8, 16, 32)
"""The same, where rows are multiplied panel by panel."""

PER_LANE = 1.6
"""Entries for each lane, at least, where neighbouring rows have entries in neighbouring columns."""

MORE_STEPS = 1.34
"""Lane-steps, against the fewest, that rows may take for better numbers of lanes."""

UNEVEN = 2.5
"""Lane-steps for each row and entry above which merge-path, which takes more instructions for each, is faster."""

UNEVEN_REST = 1.7
"""The same, of what is left when long rows are cut out: a long tail is best merged whole."""

RESIDENT_WARPS = 40
"""Warps of the row kernel that a multiprocessor holds."""

ALWAYS_STEPS, DELAY = 32, 8
"""Steps that the longest row may take: so many, and an eighth of those that each resident warp takes for all rows."""

LONG = 1024
"""Entries beyond which a row is cut into pieces if it alone keeps rows from being given lanes."""

LISTED = 0.6
"""Share of rows with entries below which these are listed: reading the list costs less than passing over the others."""

CACHED = 0.65
"""Share of the L2 cache that a panel of x may take, beside the matrix that streams through it."""

LEAST_IN_PANEL = 2.5
"""Entries of a row in each panel, on average, below which panels cost more than they bring."""


def worth_listing(rows: int, occupied: int) -> bool:
    """Whether to list the rows that have entries, `occupied` of them."""
    return occupied < LISTED * rows


def panels(rows: int, nnz: int, x_nbytes: int, cache_nbytes: int) -> int:
    """Panels into which to cut scattered columns, so that the entries of x that one panel reads stay in the cache.

    Examples
    --------
    >>> panels(2**24, 2**28, x_nbytes=2**27, cache_nbytes=50 * 2**20)
    4
    """
    count = round(x_nbytes / (CACHED * cache_nbytes))
    return count if count > 1 and nnz >= LEAST_IN_PANEL * rows * count else 1


def lanes_in_panels(rows: int, nnz: int, count: int) -> int:
    """Lanes for what a row has in one of `count` panels."""
    return next((width for width in PANEL_WIDTHS if width * rows * count >= nnz), PANEL_WIDTHS[-1])


def lanes(
    rows: int,
    nnz: int,
    slots: Sequence[int],
    longest: int,
    multiprocessors: int,
    *,
    near: bool = True,
    uneven: float = UNEVEN,
) -> int | None:
    """Lanes for each row, or None where rows are too uneven for any number: merge-path then shares entries out.

    Parameters
    ----------
    rows, nnz
        Of the block.
    slots
        Lane-steps that all rows take with 1, 2, 4, ... 32 lanes each, rows of a warp waiting for its longest.
    longest
        Entries of the longest row.
    multiprocessors
        Of the GPU.
    near
        Whether neighbouring rows have entries in neighbouring columns. Then a line of x serves several of them, and few
        lanes a row are best; else as many as there are entries, so that many lines of x are under way.
    uneven
        Lane-steps for each row and entry that are allowed.

    Examples
    --------
    Sixteen entries in each row:

    >>> lanes(1000, 16_000, [16_000] * 5 + [32_000], 16, 132)
    8
    """
    at_once = 32 * RESIDENT_WARPS * multiprocessors  # lane-steps that take the time of one
    able = [
        (width, steps)
        for width, steps in zip(WIDTHS, slots, strict=True)
        if (near or width > 1)
        and steps <= uneven * (rows + nnz) + at_once
        and -(-longest // width) <= ALWAYS_STEPS + steps // (at_once * DELAY)
    ]
    if not able:
        return None
    most = MORE_STEPS * min(steps for _, steps in able)
    wanted = max((width for width in WIDTHS if nnz >= PER_LANE * width * rows), default=1) if near else WIDTHS[-1]
    return min(
        (width for width, steps in able if steps <= most),
        key=lambda width: max(width, wanted) / min(width, wanted),
    )
