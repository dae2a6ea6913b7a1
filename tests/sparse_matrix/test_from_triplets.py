from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array

import overspill as osp
from overspill.sparse import CSRMatrix, from_coo

from .matrices import DTYPES, numbers


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 200),
    st.integers(1, 60),
    st.integers(1, 7),
    st.sampled_from(DTYPES),
    st.sampled_from(["int32", "int64", "uint64", "uint8"]),
)
def test_triplets_make_the_matrix_that_scipy_makes(
    seed: int, shape: tuple[int, int], count: int, chunk: int, blocks: int, dtype: str, index: str
) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(0, length, count).astype(index) for length in shape)
    values = np.round(numbers(rng, count, dtype) * 8)  # sums are exact in any order
    given_chunks = [da.from_array(x, chunks=chunk) for x in (rows, columns, values)]
    A = from_coo(*given_chunks, shape, blocks)
    expected = coo_array((values, (rows.astype(int), columns.astype(int))), shape=shape)
    found = A.to_scipy()
    assert (found.dtype, found.shape) == (np.dtype(dtype), shape)
    np.testing.assert_array_equal(found.toarray(), expected.toarray())
    for known, block in zip(A.blocks, dask.compute(*A.to_delayed()), strict=True):
        assert block.shape == known.shape
        assert block.has_sorted_indices
    x = rng.standard_normal(shape[1])
    np.testing.assert_allclose((A @ x).compute(), expected.toarray() @ x, rtol=1e-4, atol=1e-4)


def test_blocks_have_like_many_entries() -> None:
    rows = da.from_array(np.repeat([3, 50, 97], [1000, 1000, 1000]), chunks=700)
    A = CSRMatrix.from_coo(rows, da.arange(3000, chunks=700) % 100, da.ones(3000, chunks=700), (100, 100), blocks=3)
    assert [block.nnz for block in A.compute_nnz().blocks] == [100, 100, 100]
    assert A.to_scipy().sum() == 3000


def test_each_chunk_is_made_once_to_compute() -> None:
    made: list[int] = []

    def note(block: Any, block_id: Any = None) -> Any:
        if block.size:
            made.append(block_id[0])
        return block

    values = da.ones(90, chunks=30).map_blocks(note, dtype=float, meta=np.empty(0))
    at = da.arange(90, chunks=30)
    A = from_coo(at, at[::-1], values, (90, 90), blocks=4)
    assert made == []  # where triplets lie is learnt from their indices alone
    A.to_scipy()
    assert sorted(made) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rows", "columns", "sentence"),
    [
        ([0, 3], [0, 0], r"\(3, 0\) lies outside a matrix of shape \(3, 4\): rows go from 0 to 2"),
        ([0, -1], [0, 0], r"\(-1, 0\) lies outside a matrix of shape \(3, 4\): rows go from 0 to 2"),
        ([0, 1], [0, 4], r"\(1, 4\) lies outside a matrix of shape \(3, 4\): columns go from 0 to 3"),
        ([0, 1], [0, -2], r"\(1, -2\) lies outside"),
        ([0, 1, 2], [0, 1], r"columns has shape \(2,\) and rows \(3,\)"),
        ([[0], [1]], [0, 1], r"rows has shape \(2, 1\)"),
    ],
)
def test_triplets_that_do_not_fit(rows: Any, columns: Any, sentence: str) -> None:
    with pytest.raises(osp.ArrayError, match=sentence):
        from_coo(np.array(rows), np.array(columns), np.ones(2), (3, 4))


def test_short_index_types_of_tall_matrices() -> None:
    A = from_coo(np.array([1], np.int8), np.array([5], np.int8), np.ones(1), (9_000_000, 9), blocks=2)
    assert A.to_scipy()[1, 5] == 1


@pytest.mark.parametrize("shape", [(3,), (-3, 4), (3, 4, 5)])
def test_shapes_of_no_matrix(shape: Any) -> None:
    with pytest.raises(osp.ArrayError, match="is no shape of a matrix: pass two numbers"):
        from_coo(np.zeros(0, int), np.zeros(0, int), np.ones(0), shape)


def test_types_that_do_not_fit() -> None:
    at = np.arange(3)
    with pytest.raises(osp.DTypeError, match="columns has elements of type float64: indices are integers"):
        from_coo(at, at + 0.5, np.ones(3), (3, 4))
    with pytest.raises(osp.DTypeError, match=r"cannot hold elements of type int64: cast"):
        from_coo(at, at, at, (3, 4))
    with pytest.raises(osp.ArrayError, match="no count"):
        from_coo(at, at, np.ones(3), (3, 4), blocks=0)
    some = da.ones(5, chunks=2)
    with pytest.raises(osp.ArrayError, match="compute_chunk_sizes"):
        from_coo(at, at, some[some > 0], (3, 4))
