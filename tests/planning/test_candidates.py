from hypothesis import given
from hypothesis import strategies as st

from cases import cuts, resources
from overspill.planning.candidates import FINEST_SPLIT, holdings, panels, tilings
from overspill.planning.grid import bounds
from overspill.planning.operands import Operand


@given(cuts(2000, 3), cuts(2000, 3))
def test_tilings_cut_both_axes_from_one_part_to_many(rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
    tried = list(tilings(Operand(rows, (7,)), Operand((7,), columns), None))
    assert len(tried) == len(set(tried)) <= 40**2
    assert ((sum(rows),), (sum(columns),)) in tried
    assert all(sum(cut[0]) == sum(rows) and sum(cut[1]) == sum(columns) for cut in tried)
    assert max(len(cut[0]) for cut in tried) >= min(sum(rows), FINEST_SPLIT) // 2


@given(cuts(), st.integers(1, 400))
def test_panels_lie_on_chunk_boundaries_where_they_can(chunks: tuple[int, ...], width: int) -> None:
    widths = panels(chunks, chunks, width)
    assert sum(widths) == sum(chunks)
    assert max(widths) <= width
    if max(chunks) <= width:
        assert set(bounds(widths)) <= set(bounds(chunks))


def test_panels_follow_the_wider_chunks() -> None:
    assert panels((4, 4, 4), (6, 6), 8) == (6, 6)
    assert panels((4, 4, 4), (12,), 8) == (8, 4)
    assert panels((12,), (12,), 8) == (6, 6)


def test_what_cannot_be_had_again_is_held() -> None:
    once, again = Operand((10,), (10,)), Operand((10,), (10,), "disk")
    assert list(holdings(once, again, 8, resources())) == [(True, True), (True, False)]
    assert list(holdings(once, again, 8, resources(pool_nbytes=800))) == [(True, False)]
    assert list(holdings(once, once, 8, resources(pool_nbytes=800))) == []
