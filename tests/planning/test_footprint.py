from dataclasses import replace
from mmap import PAGESIZE

import pytest

from cases import resources
from overspill.memory.pool import block_nbytes
from overspill.memory.tile import SMALLEST_NBYTES
from overspill.planning.arithmetic import arithmetic
from overspill.planning.footprint import Space, making_nbytes, tiles_nbytes
from overspill.planning.grid import cut
from overspill.planning.operands import Operand, Pair

A = Operand((100, 100), (256, 256), "recompute")
B = Operand((256, 256), (100, 100), "recompute")


def space(device: str = "cpu", *, hold: bool = False, **budgets: int) -> Space:
    given = resources(device, **budgets)
    tiles = cut((0, 100, 200), (100, 100))
    return Space(arithmetic("float64", device), given, Pair(A, B), hold, hold, tiles, tiles)


@pytest.mark.parametrize("nbytes", [SMALLEST_NBYTES, SMALLEST_NBYTES + 1, 10**6 + 1])
@pytest.mark.parametrize("count", [1, 7])
def test_tiles_are_counted_with_their_pages(nbytes: int, count: int) -> None:
    assert count * (block_nbytes(nbytes) + PAGESIZE) <= tiles_nbytes(nbytes * count, count)


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_widest_panel_fits_and_a_wider_one_does_not(device: str, hold: bool) -> None:
    for kibibytes in range(700, 8000, 97):
        tight = space(device, hold=hold, pool_nbytes=kibibytes * 1024, device_nbytes=kibibytes * 1024)
        width = tight.widest_panel(512)
        if width > 0:
            assert tight.peaks(width, result=1) is not None
        if 0 < width < 255:
            assert tight.peaks(width + 1, result=10**9) is None


def test_panels_as_wide_as_the_chunks_need_not_keep_them() -> None:
    assert space().work_nbytes(256) < space().work_nbytes(255)


def test_peaks_over_a_budget_are_none() -> None:
    assert space(pool_nbytes=10**7).peaks(64, result=40_000) is not None
    assert space(pool_nbytes=10**5).peaks(64, result=40_000) is None
    assert space("cuda", pool_nbytes=10**8, device_nbytes=1000).peaks(64, result=40_000) is None


def test_chunks_of_narrow_types_are_taken_to_come_from_wide_ones() -> None:
    assert making_nbytes(A, itemsize=2) == making_nbytes(A, itemsize=8) == 2 * 100 * 256 * 8
    assert making_nbytes(A, itemsize=16) == 2 * 100 * 256 * 16


def test_what_a_recipe_needs_is_counted_for_each_task() -> None:
    greedy = replace(A, making_nbytes=10**7)
    for hold in (False, True):
        plain, more = (replace(space(hold=hold, workers=3), pair=Pair(x, B)).peaks(64, 40_000) for x in (A, greedy))
        assert plain and more
        assert more.host_nbytes - plain.host_nbytes == 3 * (10**7 - 2 * 100 * 256 * 8)


def test_arrays_in_memory_that_are_no_tiles_are_there_twice() -> None:
    loose = replace(A, reread=None, made=True, loose=True)
    plain, twice = (replace(space(hold=True), pair=Pair(x, B)).peaks(64, 40_000) for x in (A, loose))
    assert plain and twice
    assert twice.tiles_nbytes == plain.tiles_nbytes
    assert twice.host_nbytes - plain.host_nbytes == 8 * A.size


def test_one_array_on_both_sides_is_held_once() -> None:
    square = Operand((256, 256), (256, 256))
    once, twice = (replace(space(hold=True), pair=Pair(square, square, same)).held_nbytes for same in (True, False))
    assert 2 * once == twice
