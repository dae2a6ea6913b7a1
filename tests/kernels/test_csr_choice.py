import numpy as np
import pytest

from kernels.csr_cases import lane_steps
from overspill.kernels import csr_choice

PROCESSORS = 132


def chosen(lengths: np.ndarray, repeated: int = 1) -> int | None:
    """Lanes for rows of these lengths, again and again."""
    slots = [repeated * lane_steps(lengths, width) for width in csr_choice.WIDTHS]
    rows, nnz = repeated * len(lengths), repeated * int(lengths.sum())
    return csr_choice.lanes(rows, nnz, slots, int(lengths.max()), PROCESSORS)


@pytest.mark.parametrize(
    ("length", "lanes"), [(1, 2), (2, 2), (4, 4), (5, 8), (7, 8), (8, 8), (16, 16), (27, 32), (900, 32)]
)
def test_lanes_follow_the_length_of_rows(length: int, lanes: int) -> None:
    assert chosen(np.full(1024, length), 1000) == lanes


def test_rows_about_as_long_keep_lanes() -> None:
    assert chosen(np.random.default_rng(0).poisson(16, 4096), 1000) == 16


def test_uneven_rows_are_merged() -> None:
    lengths = (1000 * np.random.default_rng(0).pareto(1, 4096)).astype(int) // 100
    assert chosen(lengths, 1000) is None


def test_one_dense_row_among_many_is_merged() -> None:
    assert chosen(np.concatenate([np.full(4096, 16), [10_000_000]])) is None


def test_few_rows_keep_lanes_however_uneven() -> None:
    assert chosen(np.array([5, 1, 30])) is not None
