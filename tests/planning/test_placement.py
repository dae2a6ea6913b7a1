from collections import Counter
from random import Random

import pytest
from dask._task_spec import Task
from dask.order import order
from hypothesis import given
from hypothesis import strategies as st

from overspill.planning.operands import Operand, Pair
from overspill.planning.placement import beginnings, fetched_nbytes, placed


def grid(rows: int, columns: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(rows) for j in range(columns)]


def picture(rows: int, columns: int, workers: int) -> list[str]:
    """A line of workers' numbers for each row of tiles."""
    owners = placed(grid(rows, columns), workers)
    return ["".join(str(owners[i, j]) for j in range(columns)) for i in range(rows)]


positions = st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1)


@given(positions, st.integers(1, 9))
def test_each_worker_begins_with_the_tile_that_dask_puts_first(tiles: set[tuple[int, int]], workers: int) -> None:
    owners = placed(tiles, workers)
    first = beginnings(tiles, workers)
    assert first.keys() == tiles
    assert sorted(owners[tile] for tile in set(first.values())) == list(range(min(workers, len(tiles))))
    ranks = order({("tile", *tile): Task(("tile", *tile), int) for tile in tiles})  # what they take is there already
    found: dict[int, tuple[int, int]] = {}
    for tile in sorted(tiles, key=lambda tile: ranks["tile", *tile]):
        found.setdefault(owners[tile], tile)
    assert first == {tile: found[owner] for tile, owner in owners.items()}


@given(positions, st.integers(1, 9))
def test_no_worker_has_more_than_one_tile_more_than_another(tiles: set[tuple[int, int]], workers: int) -> None:
    owners = placed(tiles, workers)
    assert owners.keys() == tiles
    counts = Counter(owners.values())
    assert set(counts) == set(range(min(workers, len(tiles))))
    assert max(counts.values()) - min(counts.values()) <= 1


@given(positions, st.integers(1, 9), st.randoms())
def test_the_order_of_tiles_makes_no_difference(tiles: set[tuple[int, int]], workers: int, rng: Random) -> None:
    shuffled = sorted(tiles)
    rng.shuffle(shuffled)
    assert placed(shuffled, workers) == placed(tiles, workers)


@pytest.mark.parametrize(
    ("rows", "columns", "workers", "expected"),
    [
        (4, 4, 4, ["0011", "0011", "2233", "2233"]),
        (4, 4, 2, ["0011", "0011", "0011", "0011"]),
        (4, 6, 4, ["000111", "000111", "222333", "222333"]),
        (3, 4, 4, ["0123", "0123", "0123"]),
        (4, 3, 4, ["000", "111", "222", "333"]),
        (1, 8, 4, ["00112233"]),
        (8, 1, 4, list("00112233")),
        (1, 5, 4, ["00123"]),
        (2, 1, 4, ["0", "1"]),
        (3, 3, 1, ["000", "000", "000"]),
    ],
)
def test_rectangles(rows: int, columns: int, workers: int, expected: list[str]) -> None:
    assert picture(rows, columns, workers) == expected


def test_where_no_rectangles_are_even_tiles_are_dealt_out_along_a_snake() -> None:
    assert picture(5, 5, 4) == ["00000", "11100", "11122", "32222", "33333"]
    assert picture(2, 10, 3) == ["0001111222", "0000111222"]


def test_tiles_that_nobody_asked_for_have_no_part() -> None:
    rows_of_a_slice = {(10 * i, 3 * j + 1): owner for (i, j), owner in placed(grid(4, 4), 4).items()}
    assert placed(rows_of_a_slice, 4) == rows_of_a_slice
    with_a_gap = set(grid(4, 4)) - {(0, 0)}
    assert sorted(Counter(placed(with_a_gap, 4).values()).values()) == [3, 4, 4, 4]
    assert placed([], 4) == {}


@pytest.mark.parametrize(
    ("tiles", "workers", "share"),
    [
        (4, 4, 1 / 2 + 1 / 2),  # 2 × 2 tiles a worker
        (4, 1, 0),
        (2, 2, 1 / 2 + 1 / 2),  # a row of A, all of B, half of which is there
        (1, 4, 3 / 4 + 3 / 4),
    ],
)
def test_what_a_gpu_needs_of_others_is_at_most_what_they_have(tiles: int, workers: int, share: float) -> None:
    n = 1024
    there = Operand((256,) * 4, (256,) * 4, made=True, on_device=True)
    sizes = (n // tiles,) * tiles
    assert fetched_nbytes(Pair(there, there), sizes, sizes, 8, workers) == share * 8 * n * n
    here = Operand((256,) * 4, (256,) * 4, made=True)
    assert fetched_nbytes(Pair(here, here), sizes, sizes, 8, workers) == 0
    assert fetched_nbytes(Pair(here, there), sizes, sizes, 8, workers) <= share * 8 * n * n
