"""What the planner tries: operands to hold, cuts of the result into tiles, and of K into panels. Integers only."""

from collections.abc import Iterator
from functools import cache

from overspill.planning.grid import bounds, cover, even, group, intervals
from overspill.planning.operands import Chunks, Operand
from overspill.planning.resources import Resources

NARROWEST_PANEL = 16
"""K panels narrower than this are not worth their calls."""

FINEST_SPLIT = 512
"""Most parts that an axis of the output is tried in."""


def holdings(a: Operand, b: Operand, itemsize: int, resources: Resources) -> Iterator[tuple[bool, bool]]:
    """Which operands to hold, as far as they can be streamed otherwise and fit the pools."""
    for hold_a in (True, False):
        for hold_b in (True, False):
            if (hold_a or a.reread) and (hold_b or b.reread):
                held = itemsize * (hold_a * a.size + hold_b * b.size)
                if held <= resources.pool_nbytes:
                    yield hold_a, hold_b


def tilings(a: Operand, b: Operand, chunks: tuple[Chunks, Chunks] | None) -> Iterator[tuple[Chunks, Chunks]]:
    """Tile sizes along both axes to try: whole chunks joined, or chunks cut evenly."""
    if chunks is not None:
        yield chunks
        return
    m, n = sum(a.rows), sum(b.columns)
    row_cuts = {group(a.rows, -(-m // parts)) for parts in _parts(m)}
    column_cuts = {group(b.columns, -(-n // parts)) for parts in _parts(n)}
    for rows in row_cuts:
        for columns in column_cuts:
            yield rows, columns


def _parts(size: int) -> Iterator[int]:
    """Numbers of parts to try: each up to 8, then in steps of a quarter."""
    parts = 1
    while parts <= min(size, FINEST_SPLIT):
        yield parts
        parts += max(1, parts // 4)


@cache
def panels(a_columns: Chunks, b_rows: Chunks, width: int) -> Chunks:
    """K panels no wider than `width`, on the boundaries of the operand with the wider chunks where they fit."""
    for chunks in sorted((a_columns, b_rows), key=max, reverse=True):
        if max(chunks) <= width:
            return group(chunks, width)
    return even(sum(a_columns), width)


@cache
def read_elements(chunk_sizes: Chunks, tile_sizes: Chunks) -> int:
    """Elements along an axis that the tiles read together: whole chunks, those on a tile's edge more than once."""
    chunk_bounds = bounds(chunk_sizes)
    return sum(
        chunk_sizes[piece.chunk] for start, stop in intervals(tile_sizes) for piece in cover(chunk_bounds, start, stop)
    )
