import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cases import resources
from overspill.planning.resources import using
from overspill.sparse.partition import BLOCK_NBYTES, balanced, parts_of


@given(st.lists(st.integers(0, 1000), max_size=200), st.integers(1, 20))
def test_parts_are_even_up_to_one_row(row_nnz: list[int], parts: int) -> None:
    found = balanced(np.array(row_nnz, np.int32), parts)
    assert sum(found) == len(row_nnz)
    assert len(found) == max(1, min(parts, len(row_nnz)))
    assert min(found) >= (1 if row_nnz else 0)
    weights = np.array(row_nnz, np.int64) + 1
    ends = np.cumsum(found)
    most = max(weights[end - rows : end].sum() for rows, end in zip(found, ends, strict=True))
    # A row may come too many on either side; where rows are fewer than shares, each part still has one.
    assert most <= weights.sum() / len(found) + 2 * weights.max(initial=0) + len(found)


def test_large_counts_do_not_wrap() -> None:
    assert balanced(np.full(4, 2**31 - 1, np.int32), 2) == (2, 2)


def test_blocks_follow_bytes_and_workers() -> None:
    assert parts_of(1000, 8) == 1
    assert parts_of(BLOCK_NBYTES // 12 * 5, 8) == 5
    with using(resources(workers=3)):
        assert parts_of(1000, 8) == 3
