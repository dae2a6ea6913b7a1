"""What the planner tries: operands to hold, cuts of the result into tiles, and of K into panels. Integers only."""

from collections.abc import Iterator
from itertools import pairwise, product

from overspill.planning.grid import Cut, cut, even, group
from overspill.planning.operands import Chunks, Pair
from overspill.planning.resources import Resources

NARROWEST_PANEL = 16
"""K panels narrower than this are not worth their calls."""

NARROWEST_FIRST_PANEL = 192
"""Panels narrower than this take longer to begin than to upload."""

LEAST_GROWTH = 2.0
"""How many times as wide as the one before a panel at the beginning is at least, even where it comes too late then."""

MOST_GROWTH = 16.0
"""And at most, however soon it comes: what it takes to begin counts for more then."""

ALIGNED = 64
"""Elements, or a multiple of it, after which the panels at the beginning end: rows of whole cache lines."""

FINEST_SPLIT = 512
"""Most parts that an axis of the output is tried in."""


def holdings(pair: Pair, itemsize: int, resources: Resources) -> Iterator[tuple[bool, bool]]:
    """Which operands to hold, as far as they can be streamed otherwise and fit the pools."""
    a, b = pair.a, pair.b
    for hold_a in (True, False):
        for hold_b in (True, False):
            if (hold_a or a.reread) and (hold_b or b.reread) and (hold_a == hold_b or not pair.same):
                held = itemsize * sum(operand.size for operand in pair.held(hold_a, hold_b))
                if held <= resources.pool_nbytes:
                    yield hold_a, hold_b


def tilings(pair: Pair, chunks: tuple[Chunks, Chunks] | None) -> list[tuple[Cut, Cut]]:
    """Tiles along both axes to try: whole chunks joined, or chunks cut evenly."""
    axes = (pair.a.row_bounds, pair.b.column_bounds)
    sizes = [{given} for given in chunks] if chunks else [_sizes(chunk_bounds) for chunk_bounds in axes]
    rows, columns = ([cut(edges, tiles) for tiles in tried] for edges, tried in zip(axes, sizes, strict=True))
    return list(product(rows, columns))


def _sizes(chunk_bounds: Chunks) -> set[Chunks]:
    return {group(chunk_bounds, -(-chunk_bounds[-1] // parts)) for parts in _parts(chunk_bounds[-1])}


def _parts(size: int) -> Iterator[int]:
    """Numbers of parts to try: each up to 8, then in steps of a quarter."""
    parts = 1
    while parts <= min(size, FINEST_SPLIT):
        yield parts
        parts += max(1, parts // 4)


def panels(pair: Pair, width: int) -> Chunks:
    """K panels no wider than `width`, on the boundaries of the operand with the wider chunks where they fit."""
    sides = ((pair.a.widest, pair.a.column_bounds), (pair.b.tallest, pair.b.row_bounds))
    for largest, chunk_bounds in sorted(sides, key=lambda side: side[0], reverse=True):
        if largest <= width:
            return group(chunk_bounds, width)
    return even(pair.k, width)


def narrow_first(panels: Chunks, growth: float) -> Chunks:
    """The first panel cut into a narrow one and others, each `growth` times as wide as the one before it.

    The sooner a panel has gone up, the sooner multiplying begins; and while one is multiplied the next one has time to
    follow, if it takes `growth` times as long to multiply a panel as to upload it.

    Examples
    --------
    >>> narrow_first((2048, 2048, 100), 2.0), narrow_first((4096,), 20.0), narrow_first((300, 300), 2.0)
    ((320, 576, 1152, 2048, 100), (192, 3904), (300, 300))
    """
    first, *others = panels
    total = narrowest = 1.0  # of all panels so far, in units of the first one
    sums = [total]
    while first / (total := total + narrowest * growth) >= NARROWEST_FIRST_PANEL:
        narrowest *= growth
        sums.append(total)
    edges = [round(first * part / sums[-1] / ALIGNED) * ALIGNED for part in sums[:-1]]
    return (*(stop - start for start, stop in pairwise((0, *edges, first))), *others)
