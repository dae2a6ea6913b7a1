from mmap import PAGESIZE

import pytest

from cases import resources
from overspill.memory.pool import block_nbytes
from overspill.memory.tile import SMALLEST_NBYTES
from overspill.planning.arithmetic import arithmetic
from overspill.planning.footprint import Space, span, tiles_nbytes
from overspill.planning.operands import Operand

A = Operand((100, 100), (256, 256), "recompute")
B = Operand((256, 256), (100, 100), "recompute")


def space(device: str = "cpu", *, hold: bool = False, **budgets: int) -> Space:
    given = resources(device, **budgets)
    return Space(arithmetic("float64", device), given, A, B, hold, hold, (100, 100), (100, 100))


@pytest.mark.parametrize("nbytes", [SMALLEST_NBYTES, SMALLEST_NBYTES + 1, 10**6 + 1])
@pytest.mark.parametrize("count", [1, 7])
def test_tiles_are_counted_with_their_pages(nbytes: int, count: int) -> None:
    assert count * (block_nbytes(nbytes) + PAGESIZE) <= tiles_nbytes(nbytes * count, count)


def test_a_span_is_what_the_widest_reaching_tile_touches() -> None:
    assert span((4, 4, 4), (3, 3, 3, 3)) == 8
    assert span((4, 4, 4), (4, 8)) == 8


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_widest_panel_fits_and_a_wider_one_does_not(device: str, hold: bool) -> None:
    for kibibytes in range(700, 8000, 97):
        tight = space(device, hold=hold, pool_nbytes=kibibytes * 1024, device_nbytes=kibibytes * 1024)
        width = tight.widest_panel(512)
        if width > 0:
            assert tight.peaks((width,), result=1) is not None
        if 0 < width < 255:
            assert tight.peaks((width + 1,), result=10**9) is None


def test_panels_as_wide_as_the_chunks_need_not_keep_them() -> None:
    assert space().work_nbytes(256) < space().work_nbytes(255)


def test_peaks_over_a_budget_are_none() -> None:
    assert space(pool_nbytes=10**7).peaks((64,), result=40_000) is not None
    assert space(pool_nbytes=10**5).peaks((64,), result=40_000) is None
    assert space("cuda", pool_nbytes=10**8, device_nbytes=1000).peaks((64,), result=40_000) is None
