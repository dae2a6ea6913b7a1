from typing import Any

import numpy as np
import pytest

from kernels.csr_cases import lane_steps
from overspill.kernels import csr_choice

PROCESSORS = 132


def chosen(lengths: np.ndarray, repeated: int = 1, **options: Any) -> int | None:
    """Lanes for rows of these lengths, again and again."""
    slots = [repeated * lane_steps(lengths, width) for width in csr_choice.WIDTHS]
    rows, nnz = repeated * len(lengths), repeated * int(lengths.sum())
    return csr_choice.lanes(rows, nnz, slots, int(lengths.max()), PROCESSORS, **options)


@pytest.mark.parametrize(("length", "lanes"), [(1, 1), (2, 1), (4, 2), (6, 2), (7, 4), (16, 8), (27, 16), (900, 32)])
def test_lanes_follow_the_length_of_rows(length: int, lanes: int) -> None:
    assert chosen(np.full(1024, length), 1000) == lanes


@pytest.mark.parametrize(
    ("length", "lanes"), [(1, 2), (2, 2), (4, 4), (5, 8), (7, 8), (8, 8), (16, 16), (27, 32), (900, 32)]
)
def test_every_entry_has_a_lane_where_columns_are_far_apart(length: int, lanes: int) -> None:
    assert chosen(np.full(1024, length), 1000, near=False) == lanes


def test_rows_about_as_long_keep_lanes() -> None:
    lengths = np.random.default_rng(0).poisson(16, 4096)
    assert (chosen(lengths, 1000), chosen(lengths, 1000, near=False)) == (8, 16)


def test_more_lanes_where_one_row_of_a_warp_is_longer() -> None:
    assert chosen(np.where(np.arange(4096) % 32, 2, 12), 1000) == 2


def test_uneven_rows_are_merged() -> None:
    lengths = (1000 * np.random.default_rng(0).pareto(1, 4096)).astype(int) // 100
    assert chosen(lengths, 1000) is None


def test_one_dense_row_among_many_is_merged() -> None:
    assert chosen(np.concatenate([np.full(4096, 16), [10_000_000]])) is None


def test_few_rows_keep_lanes_however_uneven() -> None:
    assert chosen(np.array([5, 1, 30])) is not None


def test_what_a_cut_leaves_must_be_even() -> None:
    lengths = np.where(np.arange(4096) % 4, 1, 8)
    assert chosen(lengths, 1000) is not None
    assert chosen(lengths, 1000, uneven=1.2) is None


def test_panels_fill_the_cache_and_keep_rows_of_some_entries() -> None:
    mebibyte = 2**20
    assert csr_choice.panels(1000, 16_000, 32 * mebibyte, 50 * mebibyte) == 1
    assert csr_choice.panels(1000, 16_000, 128 * mebibyte, 50 * mebibyte) == 4
    assert csr_choice.panels(1000, 16_000, 500 * mebibyte, 50 * mebibyte) == 1
    assert [csr_choice.lanes_in_panels(1000, 16_000, count) for count in (2, 3, 4)] == [8, 8, 4]
