"""The power method against NumPy's eigenvalues, and what it says where there is no dominant one."""

import importlib
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
from overspill.linalg.graphs import Graphs
from overspill.linalg.operators import identity


def matrix(dtype: Any = "float64", n: int = 30) -> np.ndarray:
    """Not symmetric, its largest eigenvalue well apart."""
    rng = np.random.default_rng(0)
    a = rng.random((n, n)) + (1j * rng.random((n, n)) if np.dtype(dtype).kind == "c" else 0)
    return a.astype(dtype)


def dominant(A: np.ndarray) -> complex:
    values = np.linalg.eigvals(A)
    return values[np.argmax(abs(values))]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_agrees_with_the_dense_solver(xp: ModuleType, dtype: str) -> None:
    A, eps = matrix(dtype), np.finfo(dtype).eps
    value, v = osp.linalg.power_iteration(xp.asarray(A), rtol=20 * eps)
    assert isinstance(value, complex if dtype.startswith("complex") else float)
    assert isinstance(v, xp.ndarray)
    assert v.dtype == dtype
    v = backend.to_numpy(v)
    assert abs(value - dominant(A)) <= 500 * eps * abs(value)
    assert np.linalg.norm(A @ v - value * v) <= 100 * eps * abs(value)
    assert np.linalg.norm(v) == pytest.approx(1)


def test_the_residual_is_what_was_asked_for() -> None:
    A = matrix()
    for rtol in (1e-2, 1e-6, 1e-13):
        value, v = osp.linalg.power_iteration(A, rtol=rtol)
        assert np.linalg.norm(A @ v - value * v) <= rtol * abs(value) * (1 + 1e-9)


@pytest.mark.parametrize(
    "make",
    [
        scipy.sparse.csr_array,
        scipy.sparse.linalg.aslinearoperator,
        lambda A: osp.linalg.LinearOperator(A.shape, lambda x: A @ x),
    ],
    ids=["sparse", "scipy operator", "operator"],
)
def test_kinds_of_matrices(make: Any) -> None:
    value, _ = osp.linalg.power_iteration(make(matrix()), v0=np.ones(30), rtol=1e-12)
    assert value == pytest.approx(dominant(matrix()).real)


@pytest.mark.parametrize("residence", RESIDENCES)
def test_over_graphs(residence: str) -> None:
    A = matrix()
    with dask.config.set(scheduler="synchronous"):
        for lazy in (
            osp.sparse.CSRMatrix.from_scipy(scipy.sparse.csr_array(A), blocks=2),
            da.from_array(A, chunks=(17, 12)),
        ):
            value, v = osp.linalg.power_iteration(on(residence, lazy), rtol=1e-10)
            assert isinstance(v, da.Array)
            assert np.linalg.norm(A @ here(v) - value * here(v)) <= 1e-9 * abs(value)


def test_zeros() -> None:
    assert osp.linalg.power_iteration(np.zeros((3, 3)))[0] == 0


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (np.array([[0.6, -0.8, 0.1], [0.8, 0.6, 0.2], [0.0, 0.0, 0.1]]), r"about 0\.6[+-]0\.8j and 0\.6[+-]0\.8j"),
        (np.diag([-2.0, 2.0, 0.5]), r"about -?2 and -?2, so that no vector settles: shift A"),
        (np.diag([1.0, 0.9999, 0.5]), r"maxiter was reached at iteration 200, with a residual of .*: raise maxiter="),
        (np.roll(np.eye(5), 1, axis=0), r"maxiter was reached"),
        (np.full((3, 3), np.nan), r"NaN or infinity at iteration 1"),
        (np.full((3, 3), 1e300), r"NaN or infinity at iteration"),
    ],
    ids=["complex pair", "opposite signs", "close", "five alike", "nan", "overflow"],
)
def test_no_convergence_is_named(A: np.ndarray, message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(osp.ConvergenceError, match=message):
        osp.linalg.power_iteration(A, maxiter=200, rtol=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rtol": -1}, r"cannot use rtol=-1"),
        ({"maxiter": 0}, r"cannot use maxiter=0"),
        ({"v0": np.zeros(30)}, r"cannot begin with v0="),
        ({"v0": np.ones(3)}, r"shape \(3,\)"),
    ],
)
def test_arguments_that_cannot_be_used(given: dict[str, Any], message: str) -> None:
    with pytest.raises(osp.OverspillError, match=message):
        osp.linalg.power_iteration(matrix(), **given)


def test_over_graphs_nothing_piles_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each iteration would hold on to the vectors of all before."""
    tasks: list[int] = []

    class Watched(Graphs):
        def dots(self, *pairs: Any) -> tuple[Any, ...]:
            tasks.append(max(len(dict(x.__dask_graph__())) for pair in pairs for x in pair))
            return super().dots(*pairs)

    # The function of the same name hides the module.
    iterate = importlib.import_module("overspill.linalg.power_iteration").iterate
    A = matrix()
    with dask.config.set(scheduler="synchronous"):
        lazy, v = da.from_array(A, chunks=15).persist(), da.ones(30, chunks=15)
        _, found = iterate(
            Watched(),
            lambda x: lazy @ x,
            identity,
            v0=v,
            rtol=1e-12,
            maxiter=12,
            progress=lambda *told, **restart: None,
        )
    assert found.iterations >= 8
    assert tasks[7] == tasks[3]


@pytest.mark.parametrize("shape", [(3, 4), (0, 0)])
def test_matrices_that_cannot_be_used(shape: tuple[int, int]) -> None:
    with pytest.raises(osp.ArrayError, match="eigenvalues are those of square matrices"):
        osp.linalg.power_iteration(np.ones(shape))
