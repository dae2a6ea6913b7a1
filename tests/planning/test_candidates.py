from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cases import cuts, resources
from overspill.planning.candidates import (
    ALIGNED,
    FINEST_SPLIT,
    NARROWEST_FIRST_PANEL,
    holdings,
    narrow_first,
    panels,
    tilings,
)
from overspill.planning.grid import bounds, cut
from overspill.planning.operands import Chunks, Operand, Pair


@given(cuts(2000, 3), cuts(2000, 3))
def test_tilings_cut_both_axes_from_one_part_to_many(rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
    tried = tilings(Pair(Operand(rows, (7,)), Operand((7,), columns)), None)
    sizes = {(one.sizes, other.sizes) for one, other in tried}
    assert len(tried) == len(sizes) <= 40**2
    assert ((sum(rows),), (sum(columns),)) in sizes
    assert all(sum(one) == sum(rows) and sum(other) == sum(columns) for one, other in sizes)
    assert max(len(one) for one, _ in sizes) >= min(sum(rows), FINEST_SPLIT) // 2


def test_tiles_that_are_given_are_the_only_ones() -> None:
    pair = Pair(Operand((4, 4), (7,)), Operand((7,), (3, 3)))
    assert tilings(pair, ((5, 3), (6,))) == [(cut((0, 4, 8), (5, 3)), cut((0, 3, 6), (6,)))]


def along_k(a_columns: Chunks, b_rows: Chunks) -> Pair:
    return Pair(Operand((1,), a_columns), Operand(b_rows, (1,)))


@given(cuts(), st.integers(1, 400))
def test_panels_lie_on_chunk_boundaries_where_they_can(chunks: tuple[int, ...], width: int) -> None:
    widths = panels(along_k(chunks, chunks), width)
    assert sum(widths) == sum(chunks)
    assert max(widths) <= width
    if max(chunks) <= width:
        assert set(bounds(widths)) <= set(bounds(chunks))


@given(st.lists(st.integers(1, 10**5), min_size=1).map(tuple), st.floats(2, 100))
def test_the_first_panel_is_cut_into_ever_wider_ones(given: Chunks, growth: float) -> None:
    widths = narrow_first(given, growth)
    cut_up = len(widths) - len(given) + 1
    assert widths[cut_up:] == given[1:]
    first = widths[:cut_up]
    assert sum(first) == given[0]
    assert min(given[0], NARROWEST_FIRST_PANEL) <= first[0]
    # One more would leave the first too narrow.
    assert given[0] < NARROWEST_FIRST_PANEL * sum(growth**number for number in range(cut_up + 1))
    slack = ALIGNED * (1 + growth)  # each has two ends, which are moved by half of it
    assert all(abs(wide - growth * narrow) <= slack + 1e-6 * wide for narrow, wide in pairwise(first))


def test_panels_follow_the_wider_chunks() -> None:
    assert panels(along_k((4, 4, 4), (6, 6)), 8) == (6, 6)
    assert panels(along_k((4, 4, 4), (12,)), 8) == (8, 4)
    assert panels(along_k((12,), (12,)), 8) == (6, 6)


def test_what_cannot_be_had_again_is_held() -> None:
    once, again = Operand((10,), (10,)), Operand((10,), (10,), "disk")
    assert list(holdings(Pair(once, again), 8, resources())) == [(True, True), (True, False)]
    assert list(holdings(Pair(once, again), 8, resources(pool_nbytes=800))) == [(True, False)]
    assert list(holdings(Pair(once, once), 8, resources(pool_nbytes=800))) == []


def test_one_array_on_both_sides_is_held_for_both_or_for_neither() -> None:
    again = Operand((10,), (10,), "disk")
    pair = Pair(again, again, same=True)
    assert list(holdings(pair, 8, resources(pool_nbytes=800))) == [(True, True), (False, False)]
