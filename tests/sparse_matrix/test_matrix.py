import operator
import pickle
from types import ModuleType
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import is_dask_collection, tokenize
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix

import overspill as osp
from overspill import memory
from overspill.sparse import Block, CSRMatrix, of_function
from overspill.sparse.cutting import cut_anew

from .matrices import DTYPES, in_blocks, random_matrix, scipy_matrices


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def assert_same(found: csr_array, expected: Any) -> None:
    """Equal element for element, and canonical as blocks and their union have to be."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found.toarray(), expected.toarray())
    assert_canonical(found)


def assert_canonical(block: Any) -> None:
    """In fact, not by what the block remembers of itself."""
    assert block.indptr[0] == 0
    assert block.indptr[-1] == len(block.indices) == len(block.data)
    assert block.indices.dtype == block.indptr.dtype
    for start, stop in zip(block.indptr[:-1], block.indptr[1:], strict=True):
        assert np.all(np.diff(block.indices[start:stop]) > 0)
    if block.nnz:
        assert 0 <= block.indices.min() <= block.indices.max() < block.shape[1]


def blocks_of(A: CSRMatrix) -> list[Any]:
    return list(dask.compute(*A.to_delayed()))


def assert_blocks(A: CSRMatrix) -> None:
    """What is known of blocks before they are computed is so."""
    for known, block in zip(A.blocks, blocks_of(A), strict=True):
        assert block.shape == known.shape
        assert known.nnz in (None, block.nnz)
        assert_canonical(block)


@settings(max_examples=25, deadline=None)
@given(scipy_matrices(), st.integers(1, 50))
def test_from_scipy_and_back(A: Any, blocks: int) -> None:
    before = A.indices.copy()
    matrix = CSRMatrix.from_scipy(A, blocks=blocks)
    exact = csr_array(A.toarray())  # NumPy sums duplicates in their order of places, which may round otherwise
    found = matrix.to_scipy()
    np.testing.assert_allclose(found.toarray(), exact.toarray(), rtol=1e-5, atol=1e-6)
    assert_canonical(found)
    assert_blocks(matrix)
    assert len(matrix.blocks) == max(1, min(blocks, A.shape[0]))
    assert matrix.nnz == found.nnz
    assert all(block.indices.dtype == np.int32 for block in blocks_of(matrix))
    np.testing.assert_array_equal(A.indices, before)  # what was passed stays as it was


@pytest.mark.parametrize("kind", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
def test_every_format_of_scipy(kind: str) -> None:
    A = random_matrix(20, 30)
    assert_same(CSRMatrix.from_scipy(A.asformat(kind)).to_scipy(), A)
    assert_same(CSRMatrix.from_scipy(csr_matrix(A).asformat(kind)).to_scipy(), A)


@pytest.mark.parametrize("kind", [csr_array, csc_array, csr_matrix])
@pytest.mark.parametrize(
    ("indices", "indptr"),
    [
        ([0, 1, 9], [0, 1, 2, 3]),
        ([0, 1, -1], [0, 1, 2, 3]),
        ([0, 1, 2], [0, 9, 1, 3]),  # SciPy's loops would write beyond the arrays
        ([0, 1, 2], [0, 9, 9, 0]),
        ([0, 1, 2], [0, 1, 2, 4]),
        ([0, 1, 2], [1, 1, 2, 3]),
    ],
)
def test_damaged_matrices_are_refused(kind: Any, indices: list[int], indptr: list[int]) -> None:
    A = kind((3, 3))
    A.data, A.indices, A.indptr = np.ones(3), np.array(indices, np.int32), np.array(indptr, np.int32)
    with pytest.raises(osp.ArrayError, match=r"A of shape \(3, 3\) is damaged \(.+\): make it anew"):
        CSRMatrix.from_scipy(A)
    assert len(A.data) == 3  # what was passed stays as it was


def test_vectors_and_dense_arrays_are_no_matrices() -> None:
    for x in (np.eye(3), coo_array(np.ones(3)), [1.0]):
        with pytest.raises(osp.ArrayError, match=r"takes sparse matrices of SciPy's with two dimensions"):
            CSRMatrix.from_scipy(x)


@settings(max_examples=15, deadline=None)
@given(st.data(), scipy_matrices(), st.integers(1, 6), st.integers(1, 6), st.sampled_from(DTYPES))
def test_arithmetic_is_scipy_s(data: st.DataObject, A: Any, blocks: int, others: int, dtype: str) -> None:
    A.sum_duplicates()
    B = random_matrix(*A.shape, dtype, density=0.1, seed=data.draw(st.integers(0, 9)))
    a, b = CSRMatrix.from_scipy(A, blocks=blocks), CSRMatrix.from_scipy(B, blocks=others)
    factor = data.draw(st.sampled_from([2, 0.5, np.float32(3), 0.0] + [2j] * (A.dtype.kind == "c")))
    start, stop = sorted(data.draw(st.lists(st.integers(-45, 45), min_size=2, max_size=2)))
    for found, expected in (
        (a + b, A + B),
        (a - b, A - B),
        (-a, -A),
        (a * factor, A * factor),
        (factor * a, A * factor),
        (a / 4, A * 0.25),
        (a.conj(), A.conj()),
        (a.astype(complex), A.astype(complex)),
        (a[start:stop], A[start:stop]),
        ((a + b)[start:, :], (A + B)[start:]),
    ):
        assert_same(found.to_scipy(), csr_array(expected))
        assert_blocks(found)
    diagonal = a.diagonal()
    np.testing.assert_array_equal(diagonal.compute(), A.diagonal())
    assert diagonal.dtype == A.dtype


def test_slices_copy_no_more_than_their_rows_and_know_whole_blocks() -> None:
    A = CSRMatrix.from_scipy(random_matrix(100, 100, density=0.2), blocks=4)
    first, second, third, last = A.row_chunks
    part = A[first - 3 : -last]
    assert part.row_chunks == (3, second, third)
    assert part.blocks[1:] == A.blocks[1:3]
    assert part.blocks[0].nnz is None
    assert part.nnz is None
    assert part.compute_nnz().nnz == A.to_scipy()[first - 3 : -last].nnz
    assert set(part[3:].dask.cull({(part[3:].name, 0)}).to_dict()) >= {(A.name, 1)}
    assert (A.name, 3) not in part.dask.cull(set(part.__dask_keys__())).to_dict()


def test_moves_between_residences(xp: ModuleType) -> None:
    A = random_matrix(300, 200, "complex64")
    matrix = in_blocks(A, 3, xp)
    assert matrix.residence == ("host" if xp is np else "device")
    assert all(isinstance(block.data, xp.ndarray) for block in blocks_of(matrix))
    back = matrix.to_host()
    assert (back.residence, back.nnz) == ("host", A.nnz)
    assert_same(back.to_scipy(), A)
    assert_same(matrix.to_scipy(), A)
    both = matrix + CSRMatrix.from_scipy(A, blocks=2) * 2
    assert both.residence == matrix.residence
    np.testing.assert_allclose(both.to_scipy().toarray(), 3 * A.toarray(), rtol=1e-6)
    assert_same((matrix * 2)[50:250].conj().to_scipy(), csr_array((A * 2)[50:250].conj()))
    diagonal = matrix.diagonal()
    assert isinstance(diagonal._meta, xp.ndarray)
    np.testing.assert_array_equal(osp.to_host(diagonal).compute(), A.diagonal())


def test_large_blocks_are_tiles() -> None:
    matrix = CSRMatrix.from_scipy(random_matrix(2000, 2000, density=0.02), blocks=2)
    made = matrix * 2
    assert matrix.to_host() is matrix
    for each in (matrix, made.to_host()):
        for block in blocks_of(each):
            assert memory.is_tile(block.data)
            assert memory.is_tile(block.indices)
    assert not memory.is_tile(blocks_of(made)[0].data)


def test_it_is_a_dask_collection() -> None:
    A = random_matrix(60, 40)
    matrix, x = CSRMatrix.from_scipy(A, blocks=3) * 2, da.ones(40, chunks=7)
    assert is_dask_collection(matrix)
    assert not is_dask_collection(matrix.T)
    kept, y = dask.persist(matrix, matrix @ x)
    assert isinstance(kept, CSRMatrix)
    assert (kept.name, kept.blocks) == (matrix.name, matrix.blocks)
    assert all(not hasattr(task, "dependencies") or not task.dependencies for task in kept.dask.to_dict().values())
    both = dask.compute(kept, y)
    assert_same(both[0], A * 2)
    np.testing.assert_allclose(both[1], A @ np.full(40, 2.0))
    assert_same(matrix.persist().compute(), A * 2)
    assert tokenize(matrix) == tokenize(matrix.persist())
    for copy in (pickle.loads(pickle.dumps(matrix)), cloudpickle.loads(cloudpickle.dumps(matrix))):
        assert copy.name == matrix.name
        assert_same(copy.to_scipy(), A * 2)


def test_what_it_is_is_known_before_it_is_computed() -> None:
    A = random_matrix(60, 40, density=0.1)
    matrix = CSRMatrix.from_scipy(A, blocks=3)
    assert (matrix.shape, matrix.ndim, matrix.dtype, matrix.nnz) == ((60, 40), 2, np.float64, A.nnz)
    assert matrix.nbytes == sum(b.data.nbytes + b.indices.nbytes + b.indptr.nbytes for b in blocks_of(matrix))
    assert repr(matrix) == f"CSRMatrix(60 × 40 float64, {A.nnz} entries, 3 blocks on the host)"
    total = matrix + matrix
    assert (total.nnz, total.nbytes) == (None, None)
    assert "not counted yet" in repr(total)
    assert total.compute_nnz().nnz == A.nnz
    assert (matrix.T.shape, matrix.T.nnz, matrix.H.T.dtype) == ((40, 60), A.nnz, np.float64)
    assert matrix.T.T is matrix
    assert matrix.H.H is matrix


def test_what_does_not_fit_is_not_gathered() -> None:
    block = Block(10, (0, 10**9), 10**9)
    huge = of_function(operator.add, [(1, 2)], name="huge", shape=(10, 10**9), dtype=float, blocks=[block])
    for gather in (lambda: huge.to_scipy(limit="1GiB"), lambda: huge.compute(limit=2**30)):
        with pytest.raises(osp.MemoryBudgetError, match=r"with 1000000000 entries takes 22\.4 GiB.* and 1 GiB"):
            gather()
    with pytest.raises(osp.UsageError, match="no size|not a size"):
        huge.to_scipy(limit="much")


@pytest.mark.parametrize(
    "blocks", [[], [Block(3, (0, 4))], [Block(6, (0, 5))], [Block(6, (3, 2))], [Block(3, (-1, 2)), Block(3, (0, 4))]]
)
def test_blocks_that_make_no_matrix(blocks: list[Block]) -> None:
    with pytest.raises(osp.ArrayError, match=r"shape \(6, 4\)"):
        CSRMatrix({}, "a", (6, 4), float, blocks)


def test_wide_windows_need_wide_indices() -> None:
    """Two blocks of one column each, more than 2**31 columns apart, in one after they are joined."""
    far = 2**31 + 10

    def block(column: int) -> Any:
        made = csr_array((1, 1))
        made.data, made.indices, made.indptr = np.full(1, column + 1.0), np.zeros(1, "i4"), np.array([0, 1], "i4")
        return made

    blocks = [Block(1, (0, 1), 1), Block(1, (far, far + 1), 1)]
    A = of_function(block, [(0,), (far,)], name="far", shape=(2, far + 1), dtype=float, blocks=blocks)
    joined = cut_anew(A, 0, (2,))
    assert joined.blocks == (Block(2, (0, far + 1), 2),)
    (found,) = blocks_of(joined)
    assert found.indices.dtype == np.int64
    assert found.indices.tolist() == [0, far]
    assert (A + A).to_scipy().indices.tolist() == [0, far]


def test_windows_of_blocks_without_entries_are_nowhere() -> None:
    """Joined with, and added to, blocks further right than 32 bits count."""
    far = 3 * 2**30
    A = CSRMatrix.from_coo(np.array([3]), np.array([far]), np.ones(1), (4, far + 1), blocks=2)
    B = CSRMatrix.from_coo(np.array([0]), np.array([far]), np.ones(1), (4, far + 1), blocks=2)
    assert A.blocks[0].columns == (0, 0)
    assert cut_anew(A, 0, (4,)).to_scipy().indices.tolist() == [far]
    assert (A + B).to_scipy().indices.tolist() == [far, far]
