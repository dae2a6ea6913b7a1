"""Singular values against NumPy's, by both methods, of every kind and shape of matrix; the randomized one's error."""

from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from tests.linalg.residences import RESIDENCES, here, on

import overspill as osp
from overspill import backend

SHAPES = ((40, 25), (25, 40), (30, 30))


def matrix(shape: tuple[int, int], dtype: Any = "float64") -> np.ndarray:
    """With entries in one of four places, and singular values that fall fast."""
    rng = np.random.default_rng(shape[0])
    parts = rng.standard_normal((2, *shape)) * (rng.random(shape) < 0.25) * 0.8 ** np.arange(shape[1])
    return (parts[0] + (1j * parts[1] if np.dtype(dtype).kind == "c" else 0)).astype(dtype)


def check(A: np.ndarray, found: Any, which: str, k: int, tol: float) -> None:
    u, s, vh = found
    assert type(s) is np.ndarray
    right = np.linalg.svd(A, compute_uv=False)
    assert abs(s - np.sort(right[:k] if which == "LM" else right[-k:])).max() <= tol * right[0]
    u, vh = here(u), here(vh)
    assert abs(A @ vh.conj().T - u * s).max() <= tol * right[0]
    assert abs(u.conj().T @ A - s[:, None] * vh).max() <= tol * right[0]
    for basis in (u.conj().T @ u, vh @ vh.conj().T):
        assert abs(basis - np.eye(k)).max() <= max(tol, 1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("which", ["LM", "SM"])
def test_agrees_with_the_dense_solver(xp: ModuleType, which: Any, shape: tuple[int, int], dtype: str) -> None:
    A = matrix(shape, dtype)
    found = osp.linalg.svds(xp.asarray(A), 3, which=which, ncv=25 if which == "SM" else None)
    assert isinstance(found[0], xp.ndarray)
    assert found[0].dtype == dtype
    check(A, found, which, 3, 500 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "make",
    [
        scipy.sparse.csr_array,
        lambda A: scipy.sparse.linalg.aslinearoperator(A),
        lambda A: osp.linalg.LinearOperator(A.shape, lambda x: A @ x, lambda y: A.conj().T @ y, A.dtype),
    ],
    ids=["sparse", "scipy operator", "operator"],
)
def test_kinds_of_matrices(make: Any, shape: tuple[int, int]) -> None:
    A = matrix(shape, "complex128")
    check(A, osp.linalg.svds(make(A), 3), "LM", 3, 1e-13)
    check(A, osp.linalg.svds(make(A), 3, solver="randomized", n_iter=20), "LM", 3, 1e-8)


@pytest.mark.parametrize("residence", RESIDENCES)
@pytest.mark.parametrize("shape", SHAPES[1:2])
def test_over_graphs(residence: str, shape: tuple[int, int]) -> None:
    A = matrix(shape, "complex128")
    with dask.config.set(scheduler="synchronous"):
        for lazy in (
            osp.sparse.CSRMatrix.from_scipy(scipy.sparse.csr_array(A), blocks=2),
            da.from_array(A, chunks=(17, 12)),
        ):
            lazy = on(residence, lazy)
            found = osp.linalg.svds(lazy, 2, ncv=5, tol=1e-6)
            assert isinstance(found[0], da.Array)
            assert backend.residence_of(found[0]._meta) == residence
            assert found[2].shape == (2, shape[1])
            check(A, found, "LM", 2, 1e-5)
            check(A, osp.linalg.svds(lazy, 2, solver="randomized"), "LM", 2, 1e-2)


def test_randomized_is_as_good_as_it_says() -> None:
    """Halko, Martinsson & Tropp, theorem 1.2: the expected error of the basis, which a sample exceeds tenfold never."""
    A = matrix((40, 25))
    right = np.linalg.svd(A, compute_uv=False)
    k, p = 5, 5
    errors = []
    for n_iter in (0, 1, 4):
        u, s, vh = osp.linalg.svds(A, k, solver="randomized", n_oversamples=p, n_iter=n_iter)
        errors.append(np.linalg.norm(A - u * s @ vh, 2))
        assert errors[-1] <= (1 + 4 * np.sqrt((k + p) / (p - 1) * 25)) ** (1 / (2 * n_iter + 1)) * right[k] * 2
    assert errors[0] > errors[1] > errors[2] >= right[k] * (1 - 1e-12)


@pytest.mark.parametrize("solver", ["lanczos", "randomized"])
def test_fewer_than_asked_for(solver: Any) -> None:
    A = np.outer(np.arange(20.0), np.arange(30.0)) + np.eye(20, 30) * (np.arange(20) == 0)[:, None]
    check(A, osp.linalg.svds(A, 4, solver=solver), "LM", 4, 1e-13)
    check(0 * A, osp.linalg.svds(0 * A, 4, solver=solver), "LM", 4, 1e-13)


def test_singular_values_that_are_the_same() -> None:
    A = scipy.sparse.diags_array(np.repeat([3.0, 2.0, 1.0], 20))
    assert abs(osp.linalg.svds(A, 6, return_singular_vectors=False) - 3).max() < 1e-12


def test_which_vectors() -> None:
    A = matrix((30, 30))
    u, s, vh = osp.linalg.svds(A, 2)
    assert (osp.linalg.svds(A, 2, return_singular_vectors=False) == s).all()
    left, _, nothing = osp.linalg.svds(A, 2, return_singular_vectors="u")
    assert (left == u).all()
    assert nothing is None
    nothing, _, right = osp.linalg.svds(A, 2, return_singular_vectors="vh")
    assert (right == vh).all()
    assert nothing is None


def test_first_vector() -> None:
    A = matrix((25, 40))
    s = osp.linalg.svds(A, 2, return_singular_vectors=False)
    for v0 in (np.ones(25), np.zeros(25)):
        assert abs(osp.linalg.svds(A, 2, v0=v0, return_singular_vectors=False) - s).max() < 1e-12


@pytest.mark.parametrize("solver", ["lanczos", "randomized"])
def test_nan_is_no_singular_value(solver: Any) -> None:
    A = matrix((30, 30))
    A[3, 4] = np.nan
    with pytest.raises(osp.ConvergenceError, match="NaN or infinity"):
        osp.linalg.svds(A, 3, solver=solver)


def test_the_adjoint_of_another_matrix() -> None:
    A = matrix((30, 30)) + 1j
    wrong = osp.linalg.LinearOperator(A.shape, lambda x: A @ x, lambda y: A.T @ y, A.dtype)
    with pytest.raises(osp.ConvergenceError, match="the adjoint of A is that of another matrix"):
        osp.linalg.svds(wrong, 3)
    with pytest.raises(osp.ArrayError, match="knows no adjoint: give it rmatvec="):
        osp.linalg.svds(osp.linalg.LinearOperator(A.shape, lambda x: A @ x), 3)


def test_what_has_converged_is_handed_over() -> None:
    A = scipy.sparse.diags_array(np.append(np.linspace(0, 1, 300), 50.0))
    with pytest.raises(osp.ConvergenceError, match=r"maxiter was reached at iteration 2; 1 of 3 converged"):
        osp.linalg.svds(A, 3, ncv=7, maxiter=2, tol=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"k": 0}, r"cannot find k=0 of 25 singular values: pass 1 to 24"),
        ({"k": 25}, r"cannot find k=25"),
        ({"which": "LA"}, r"knows no which='LA'"),
        ({"solver": "arpack"}, r"knows no solver='arpack'"),
        ({"solver": "randomized", "which": "SM"}, r"the largest singular values only"),
        ({"ncv": 6}, r"cannot use ncv=6 vectors for k=6 singular values: pass 7 to 25"),
        ({"tol": 2}, r"cannot use tol=2"),
        ({"maxiter": 0}, r"cannot use maxiter=0"),
        ({"n_iter": -1}, r"n_iter=-1"),
        ({"v0": np.ones(40)}, r"v0 has shape \(40,\), but the shorter side of A is 25"),
    ],
)
def test_arguments_that_cannot_be_used(given: dict[str, Any], message: str) -> None:
    with pytest.raises(osp.OverspillError, match=message):
        osp.linalg.svds(matrix((40, 25)), **given)
