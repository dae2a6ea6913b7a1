from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import overspill as osp
from overspill import backend, memory
from overspill.sparse import CSRMatrix

from .matrices import DTYPES, in_blocks, numbers, random_matrix, scipy_matrices

EPS = {"f": 2.0**-22, "F": 2.0**-21, "d": 2.0**-50, "D": 2.0**-49}


def computed(x: da.Array) -> Any:
    return backend.to_numpy(x.compute(scheduler="synchronous"))


def assert_product(y: da.Array, A: Any, x: Any) -> None:
    """`y` is ``A @ x``, of the type that NumPy gives it, to rounding, which grows with |A| |x|."""
    exact = A.astype(np.complex128) @ x.astype(np.complex128)
    scale = abs(A).astype(np.float64) @ np.abs(x).astype(np.float64)
    found = computed(y)
    assert found.dtype == y.dtype == np.result_type(A.dtype, x.dtype)
    assert found.shape == y.shape == exact.shape
    assert np.all(np.abs(found - exact) <= 4 * EPS[found.dtype.char] * scale + 1e-300)


@settings(max_examples=25, deadline=None)
@given(st.data(), scipy_matrices(), st.integers(1, 6), st.sampled_from(DTYPES), st.booleans())
def test_products_are_scipy_s(data: st.DataObject, A: Any, blocks: int, dtype: str, several: bool) -> None:
    matrix = CSRMatrix.from_scipy(A, blocks=blocks)
    A.sum_duplicates()  # in its own type, as from_scipy does
    tail = (data.draw(st.integers(0, 4)),) if several else ()
    rng = np.random.default_rng(0)
    for multiplied, whole in ((matrix, A), (matrix.T, A.T), (matrix.H, A.conj().T)):
        x = numbers(rng, (whole.shape[1], *tail), dtype)
        chunks = tuple(data.draw(st.integers(1, max(1, size))) for size in x.shape)
        y = multiplied @ da.from_array(x, chunks=chunks)
        assert_product(y, whole, x)
        y = da.from_array(x.T, chunks=chunks[::-1]) @ multiplied.T
        assert_product(y.T, whole, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_products_stay_where_the_matrix_lies(xp: ModuleType, dtype: str) -> None:
    A = random_matrix(300, 200, dtype)
    matrix = in_blocks(A, 5, xp)
    rng = np.random.default_rng(1)
    x, z = numbers(rng, 200, dtype), numbers(rng, (300, 3), dtype)
    for module in {np, xp}:  # vectors of the other residence follow the matrix
        y = matrix @ da.from_array(module.asarray(x), chunks=70)
        assert_product(y, A, x)
        back = matrix.T @ da.from_array(module.asarray(z), chunks=(70, 2))
        assert_product(back, A.T, z)
        for array in (y, back):
            blocks = dask.compute(*array.to_delayed().ravel(), scheduler="synchronous")
            assert all(isinstance(block, xp.ndarray) for block in blocks)
            assert isinstance(array._meta, xp.ndarray)
    assert y.chunks == (matrix.row_chunks,)
    assert back.chunks[1] == (2, 1)


@pytest.mark.gpu
def test_a_matrix_that_is_not_kept_on_gpus_goes_through_them_block_by_block() -> None:
    import cupy

    A = random_matrix(3000, 2000, density=0.02)
    matrix = CSRMatrix.from_scipy(A, blocks=5)
    up = matrix.to_device()
    x = np.random.default_rng(3).standard_normal(2000)
    for y in (up @ x, up.T @ numbers(np.random.default_rng(4), 3000, "float64")):
        needed = y.dask.cull(set(y.__dask_keys__())).to_dict()
        assert not [key for key in needed if key[0] == up.name]
        assert isinstance(y._meta, cupy.ndarray)
    assert_product(up @ x, A, x)
    kept = up.persist(scheduler="synchronous")
    y = kept @ x
    assert (kept.name, 0) in y.dask.cull(set(y.__dask_keys__())).to_dict()
    assert_product(y, A, x)
    assert osp.plan(up @ x).passes.total.uploaded_nbytes >= matrix.nbytes
    assert osp.plan(y).passes.total.uploaded_nbytes < matrix.nbytes


def test_square_matrices_keep_the_cut_of_vectors() -> None:
    matrix = CSRMatrix.from_scipy(random_matrix(100, 100), blocks=4)
    x = da.ones(100, chunks=100)
    assert (matrix @ x).chunks == (matrix.T @ x).chunks == matrix.diagonal().chunks == (matrix.row_chunks,)


def test_only_chunks_under_the_window_are_read() -> None:
    band = osp.sparse.from_scipy(_band(1000), blocks=10)

    def first_only(block: Any, block_info: Any = None) -> Any:
        assert block_info[0]["chunk-location"] in ((0,), (1,))
        return block

    x = da.ones(1000, chunks=band.row_chunks).map_blocks(first_only, dtype=float, meta=np.empty(0))
    assert computed((band @ x)[: band.row_chunks[0]]).shape == (band.row_chunks[0],)
    assert computed((band.T @ x)[:50]).shape == (50,)
    with pytest.raises(AssertionError):
        computed(band @ x)


def test_of_large_chunks_only_the_parts_that_are_needed_travel() -> None:
    n = 200_000
    band = CSRMatrix.from_scipy(_band(n), blocks=3)
    x = np.random.default_rng(5).standard_normal(n)
    y = band @ da.from_array(x, chunks=band.row_chunks)
    assert_product(y, _band(n), x)
    tasks = y.dask.layers[y.name].mapping
    cut = [key for key in tasks if key[0] != y.name]
    assert [stop - start for _, _, start, stop in cut] == [1, 1, 1, 1]
    z = band.T @ da.from_array(x, chunks=band.row_chunks)
    assert all(map(memory.is_tile, dask.compute(*y.to_delayed(), *z.to_delayed(), scheduler="synchronous")))
    assert osp.to_host(y) is y


def _band(n: int) -> Any:
    return scipy.sparse.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=(-1, 0, 1), format="csr")


def test_nothing_is_computed_and_the_same_has_the_same_name() -> None:
    def explode() -> Any:
        raise AssertionError("computed")

    blocks = [osp.sparse.Block(5, (0, 7))] * 2
    A = osp.sparse.of_function(explode, [(), ()], name="a", shape=(10, 7), dtype=float, blocks=blocks)
    x = da.ones(7)
    made = [A @ x, A.T @ (A @ x), (A + A * 2 - A / 3)[2:9] @ x, (-A).conj().diagonal(), A.astype("f4").to_host() @ x]
    again = [A @ x, A.T @ (A @ x), (A + A * 2 - A / 3)[2:9] @ x, (-A).conj().diagonal(), A.astype("f4").to_host() @ x]
    assert [y.name for y in made] == [y.name for y in again]
    assert len({y.name for y in made}) == len(made)
    for y in made:
        with pytest.raises(AssertionError, match="computed"):
            y.compute(scheduler="synchronous")


def test_many_partial_results_are_added_up_in_one_order() -> None:
    A = random_matrix(400, 400, density=0.2)
    matrix = CSRMatrix.from_scipy(A, blocks=40)
    x = np.random.default_rng(2).standard_normal(400)
    y = matrix.T @ da.from_array(x, chunks=50)
    assert_product(y, A.T, x)
    assert computed(y).tobytes() == np.asarray(y.compute(scheduler="threads", num_workers=4)).tobytes()


def test_lists_and_numpy_s_dot() -> None:
    A = random_matrix(6, 4, density=0.5)
    matrix = CSRMatrix.from_scipy(A, blocks=2)
    x, z = np.arange(4.0), np.arange(6.0)
    assert_product(matrix @ [0, 1, 2, 3], A, x)
    assert_product([0, 1, 2, 3, 4, 5] @ matrix, A.T, z)
    assert_product(z @ matrix, A.T, z)
    assert_product(np.dot(matrix, x), A, x)
    assert_product(np.dot(z, matrix), A.T, z)
    assert_product(matrix.matvec(x), A, x)
    assert_product(matrix.rmatvec(z), A.T, z)
    assert_product(matrix.T.T @ x, A, x)
    assert_product(matrix.H.rmatvec(x), A, x)
    assert_product(matrix @ x.astype(">f4"), A, x.astype("f4"))
    assert computed(matrix @ np.array([True, False, True, False])).dtype == np.float64


@pytest.mark.parametrize(
    "function",
    [
        lambda A, x: da.matmul(A, x),
        lambda A, x: da.asarray(A),
        lambda A, x: np.asarray(A),
        lambda A, x: A @ np.ones(5),
        lambda A, x: A.T @ np.ones(4),
        lambda A, x: A @ np.ones((4, 2, 2)),
        lambda A, x: A @ 3.0,
        lambda A, x: A @ A.to_scipy(),
        lambda A, x: A @ A.T,
        lambda A, x: A @ [[1.0, 2.0], [3.0]],
        lambda A, x: A @ da.ones(9)[da.ones(9) > 0],
        lambda A, x: A @ da.from_array(A.to_scipy().T, chunks=3, asarray=False),
        lambda A, x: A * x,
        lambda A, x: x * A,
        lambda A, x: A + 1,
        lambda A, x: A + A.T,
        lambda A, x: list(A),
        lambda A, x: A[1],
        lambda A, x: A[::2],
        lambda A, x: A[()],
        lambda A, x: A[:, 1:],
        lambda A, x: A[1:2, 0:1],
        lambda A, x: A[1:2, np.array([0, 1])],
        lambda A, x: osp.sparse.of_function(max, [], name="a", shape=(6, 4), dtype=float, blocks=A.blocks),
        lambda A, x: CSRMatrix.from_scipy(np.eye(3)),
        lambda A, x: CSRMatrix.from_scipy(A.to_scipy(), blocks=0),
    ],
)
def test_what_would_go_wrong_is_refused_in_one_sentence(function: Any) -> None:
    A = CSRMatrix.from_scipy(random_matrix(6, 4, density=0.5), blocks=2)
    with pytest.raises(osp.ArrayError) as found:
        function(A, da.ones(4))
    assert str(found.value).count("\n") == 0
    assert len(str(found.value)) > 30


def test_dask_s_own_dot_warns_and_fails() -> None:
    A = CSRMatrix.from_scipy(random_matrix(6, 4, density=0.5), blocks=2)
    with pytest.warns(UserWarning, match="already a Dask collection"):
        y = da.dot(A, da.ones(4))
    with pytest.raises(osp.ArrayError, match="sparse matrices are cut by rows"):
        y.compute(scheduler="synchronous")


@pytest.mark.parametrize("function", [np.sum, np.linalg.norm, lambda A: np.add(A, 1), np.exp])
def test_functions_of_dense_arrays_are_refused(function: Any) -> None:
    with pytest.raises(TypeError):
        function(CSRMatrix.from_scipy(random_matrix(6, 4)))


@pytest.mark.parametrize(
    "function",
    [
        lambda A: A @ np.array(["a"] * 4),
        lambda A: A @ np.array([None] * 4),
        lambda A: A @ da.ones(4, dtype="longdouble"),
        lambda A: A @ da.ones(4, dtype="M8[s]"),
        lambda A: A.astype(int),
        lambda A: A.astype("longdouble"),
        lambda A: (A * 1j).astype(float),
        lambda A: A * np.longdouble(2),
        lambda A: CSRMatrix.from_scipy(A.to_scipy().astype(np.int64)),
        lambda A: CSRMatrix.from_scipy(A.to_scipy().astype(bool)),
    ],
)
def test_element_types_that_cannot_be_multiplied(function: Any) -> None:
    with pytest.raises(osp.DTypeError, match=r"cast|keep"):
        function(CSRMatrix.from_scipy(random_matrix(6, 4, density=0.5), blocks=2))
