"""Eigenvalues against NumPy's dense solver: all kinds of matrices, wherever they lie, and each way to fail named."""

from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.io
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from tests.linalg.residences import RESIDENCES, here, on

import overspill as osp
from overspill import backend

DATA = Path(__file__).parents[3] / "shared" / "data"

WHICH = ("LM", "SM", "LA", "SA", "BE")


def laplacian(m: int) -> Any:
    """Of a square grid: eigenvalues in pairs."""
    path = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m))
    one = scipy.sparse.eye_array(m)
    return (scipy.sparse.kron(path, one) + scipy.sparse.kron(one, path)).tocsr()


def hermitian(n: int, dtype: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if np.dtype(dtype).kind == "c" else 0)
    return (a + a.conj().T).astype(dtype)


def wanted(A: Any, k: int, which: str) -> np.ndarray:
    values = np.linalg.eigvalsh(A)
    if which == "BE":
        return np.concatenate([values[: k // 2], values[len(values) - (k - k // 2) :]])
    key = {"LM": -abs(values), "SM": abs(values), "LA": -values, "SA": values}[which]
    return np.sort(values[np.argsort(key)[:k]])


def check(A: Any, w: Any, v: Any, values: np.ndarray, tol: float) -> None:
    scale = abs(A).max()
    assert abs(w - values).max() <= tol * scale
    v = here(v)
    assert abs(A @ v - v * w).max() <= tol * scale
    assert abs(v.conj().T @ v - np.eye(len(w))).max() <= tol


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("which", WHICH)
def test_agrees_with_the_dense_solver(xp: ModuleType, which: Any, dtype: str) -> None:
    A = hermitian(60, dtype)
    w, v = osp.linalg.eigsh(xp.asarray(A), 5, which=which)
    assert type(w) is np.ndarray
    assert isinstance(v, xp.ndarray)
    assert v.dtype == dtype
    check(A, w, v, wanted(A, 5, which), 2000 * np.finfo(dtype).eps)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("vectors", [True, False])
def test_order_is_scipys(which: Any, vectors: bool) -> None:
    A = np.diag([-10, -9, -3, -0.5, 0.1, 0.2, 0.7, 4, 8, 11.0, 12])
    mine, theirs = (
        solve(A, 4, which=which, return_eigenvectors=vectors) for solve in (osp.linalg.eigsh, scipy.sparse.linalg.eigsh)
    )
    if vectors:
        mine, theirs = mine[0], theirs[0]
    np.testing.assert_allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda A: A,
        lambda A: A.toarray(),
        lambda A: scipy.sparse.linalg.aslinearoperator(A),
        lambda A: osp.linalg.LinearOperator(A.shape, lambda x: A @ x),
    ],
    ids=["sparse", "dense", "scipy operator", "operator"],
)
def test_kinds_of_matrices(make: Any) -> None:
    A = laplacian(12)
    w, v = osp.linalg.eigsh(make(A), 4, which="LA")
    assert type(v) is np.ndarray
    check(A, w, v, wanted(A.toarray(), 4, "LA"), 1e-12)


@pytest.mark.parametrize("residence", RESIDENCES)
@pytest.mark.parametrize("preconditioned", [False, True])
def test_over_graphs(residence: str, preconditioned: bool) -> None:
    A = laplacian(8)
    lazy = on(residence, osp.sparse.CSRMatrix.from_scipy(A, blocks=2))
    with dask.config.set(scheduler="synchronous"):
        M = osp.linalg.jacobi(lazy) if preconditioned else None
        w, v = osp.linalg.eigsh(lazy, 3, which="SA", M=M, tol=1e-6)
        assert isinstance(v, da.Array)
        assert backend.residence_of(v._meta) == residence
        assert v.chunks == (lazy.row_chunks, (3,))
        check(A, w, v, wanted(A.toarray(), 3, "SA"), 1e-5)


def test_dask_arrays() -> None:
    A = hermitian(30, "complex128")
    with dask.config.set(scheduler="synchronous"):
        w, v = osp.linalg.eigsh(da.from_array(A, chunks=20), 3, ncv=30)
        assert isinstance(v, da.Array)
        check(A, w, v, wanted(A, 3, "LM"), 1e-12)


@pytest.mark.parametrize(
    "values",
    [np.ones(40), np.zeros(40), np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 8), np.r_[np.zeros(30), np.arange(10.0)]],
    ids=["identity", "zeros", "five values", "singular"],
)
def test_eigenvalues_of_many_vectors_are_found_as_often(values: np.ndarray) -> None:
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((40, 40)))[0]
    A = Q @ (values[:, None] * Q.T)
    w, v = osp.linalg.eigsh((A + A.T) / 2, 6, which="LA")
    assert abs(w - np.sort(values)[-6:]).max() < 1e-12
    assert abs(v.T @ v - np.eye(6)).max() < 1e-12
    w, _ = osp.linalg.eigsh(scipy.sparse.diags_array(values), 6, which="LA")
    assert abs(w - np.sort(values)[-6:]).max() < 1e-12


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("which", ["SM", "SA"])
def test_preconditioned(which: Any, dtype: str) -> None:
    turns = np.exp(1j * np.arange(144)) if dtype.startswith("complex") else np.ones(144)
    A = scipy.sparse.csr_array(turns[:, None].conj() * laplacian(12).toarray() * turns).astype(dtype)
    w, v = osp.linalg.eigsh(A, 5, which=which, M=osp.linalg.jacobi(A))
    check(A, w, v, wanted(A.toarray(), 5, which), 200 * np.finfo(dtype).eps)


def test_smallest_of_an_indefinite_matrix() -> None:
    A = (laplacian(12) - 0.5 * scipy.sparse.eye_array(144)).tocsr()
    M = osp.linalg.jacobi(A)
    w, v = osp.linalg.eigsh(A, 5, which="SA", M=M)
    check(A, w, v, wanted(A.toarray(), 5, "SA"), 1e-12)
    with pytest.raises(
        osp.ConvergenceError, match=r"A is not positive definite, as M= asks for at iteration .*: leave out M="
    ):
        osp.linalg.eigsh(A, 5, which="SM", M=M)


def test_indefinite_preconditioner() -> None:
    A = laplacian(12)
    with pytest.raises(osp.ConvergenceError, match=r"M is not positive definite .*: pass another M="):
        osp.linalg.eigsh(A, 5, which="SM", M=scipy.sparse.diags_array(np.linspace(-1, 1, 144)))


def test_singular_and_preconditioned() -> None:
    """The Laplacian of a graph of three parts: zero three times."""
    parts = [scipy.sparse.csgraph.laplacian(scipy.sparse.diags_array([1.0, 1.0], offsets=[-1, 1], shape=(30, 30)))] * 3
    A = scipy.sparse.block_diag(parts).tocsr()
    w, v = osp.linalg.eigsh(A, 5, which="SM", M=osp.linalg.jacobi(A))
    check(A, w, v, wanted(A.toarray(), 5, "SA"), 1e-12)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_small(n: int) -> None:
    A = hermitian(n, "float64") + 20 * np.eye(n)
    for k in range(1, n):
        w, v = osp.linalg.eigsh(A, k)
        check(A, w, v, wanted(A, k, "LM"), 1e-13)
        w, v = osp.linalg.eigsh(A, k, which="SM", M=osp.linalg.jacobi(A))
        check(A, w, v, wanted(A, k, "SM"), 1e-13)


def test_first_vector() -> None:
    A = laplacian(10)
    w, v = osp.linalg.eigsh(A, 2, which="SA")
    for v0 in (v[:, 0], np.zeros(100), np.ones(100)):  # an eigenvector, nothing, one without half of the others
        again, _ = osp.linalg.eigsh(A, 2, which="SA", v0=v0)
        assert abs(again - w).max() < 1e-12


def test_the_same_each_time() -> None:
    A = laplacian(10)
    (w, v), (again, too) = (osp.linalg.eigsh(A, 2) for _ in range(2))
    assert (w == again).all()
    assert (v == too).all()


def test_what_has_converged_is_handed_over() -> None:
    A = scipy.sparse.diags_array(np.r_[np.linspace(0, 1, 400), 50.0])
    with pytest.raises(osp.ConvergenceError, match=r"maxiter was reached at iteration 2; 1 of 3 converged, the "):
        osp.linalg.eigsh(A, 3, which="LA", ncv=7, maxiter=2, tol=1e-9)
    with pytest.raises(osp.ConvergenceError) as caught:
        osp.linalg.eigsh(A, 3, which="LA", ncv=7, maxiter=2, tol=1e-9)
    assert abs(caught.value.eigenvalues - 50).max() < 1e-8
    assert abs(caught.value.eigenvectors[400, 0]) == pytest.approx(1)


@pytest.mark.parametrize("preconditioned", [False, True])
def test_nan_is_no_eigenvalue(preconditioned: bool) -> None:
    A = laplacian(12)
    M = osp.linalg.jacobi(A) if preconditioned else None
    A.data[17] = np.nan
    with pytest.raises(osp.ConvergenceError, match="NaN or infinity"):
        osp.linalg.eigsh(A, 3, which="SA", M=M)
    with pytest.raises(osp.ConvergenceError, match="v0 brought NaN"):
        osp.linalg.eigsh(laplacian(12), 3, v0=np.full(144, np.nan))


def test_not_hermitian() -> None:
    A = np.random.default_rng(0).standard_normal((30, 30))
    with pytest.raises(osp.ConvergenceError, match="A is not Hermitian"):
        osp.linalg.eigsh(A, 3, ncv=30)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"k": 0}, r"cannot find k=0 of 16 eigenvalues: pass 1 to 15"),
        ({"k": 16}, r"cannot find k=16"),
        ({"which": "LI"}, r"knows no which='LI': pass one of LM, SM, LA, SA, BE"),
        ({"k": 2, "ncv": 2}, r"cannot use ncv=2 vectors for k=2 eigenvalues: pass 3 to 16"),
        ({"tol": -1}, r"cannot use tol=-1"),
        ({"tol": float("nan")}, r"cannot use tol=nan"),
        ({"maxiter": 0}, r"cannot use maxiter=0"),
        ({"M": np.eye(16)}, r"M= is of no use for which='LM'"),
        ({"M": np.eye(3), "which": "SA"}, r"M has shape \(3, 3\)"),
        ({"v0": np.ones(3)}, r"shape \(3,\)"),
    ],
)
def test_arguments_that_cannot_be_used(given: dict[str, Any], message: str) -> None:
    with pytest.raises(osp.OverspillError, match=message):
        osp.linalg.eigsh(laplacian(4), **given)


def test_matrices_that_cannot_be_used() -> None:
    with pytest.raises(osp.ArrayError, match=r"\(3, 4\), which is not square: use svds"):
        osp.linalg.eigsh(np.ones((3, 4)), 1)
    with pytest.raises(osp.DTypeError):
        osp.linalg.eigsh(np.full((4, 4), None), 1)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs shared/data beside the repository")
def test_lowest_modes_of_a_stiffness_matrix() -> None:
    """Condition 10¹⁰: LAPACK itself is off by 10⁻¹⁶ of the largest eigenvalue, 10⁻⁶ of the smallest."""
    A = scipy.io.mmread(DATA / "bcsstk13.mtx", spmatrix=False).tocsr()
    right = scipy.linalg.eigvalsh(A.toarray())
    w, v = osp.linalg.eigsh(A, 6, which="SM", M=osp.linalg.block_jacobi(A, 64), tol=1e-5)
    rounding = np.finfo(float).eps * right[-1]
    assert abs(w - right[:6]).max() < rounding
    assert (np.linalg.norm(A @ v - v * w, axis=0) <= 1.01e-5 * w + 8 * rounding).all()
