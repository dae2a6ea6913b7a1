"""PageRank against networkx on random graphs and a real one: weights, dangling nodes, where walks begin anew."""

from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import dask.array as da
import networkx
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from tests.linalg.residences import RESIDENCES, here, on

import overspill as osp
from overspill import backend

FACEBOOK = Path(__file__).parents[3] / "shared" / "data" / "facebook_combined.txt"

N = 40


def graph(seed: int = 0) -> scipy.sparse.csr_array:
    """With weights, loops, and nodes that no edge leaves."""
    rng = np.random.default_rng(seed)
    A = scipy.sparse.random_array((N, N), density=0.08, rng=rng).tolil()
    A[[3, 17]] = 0
    return A.tocsr()


def by_networkx(A: Any, **given: Any) -> np.ndarray:
    G = networkx.from_scipy_sparse_array(A, create_using=networkx.DiGraph)
    ranks = networkx.pagerank(G, **{key: named(value) for key, value in given.items()})
    return np.array([ranks[node] for node in range(A.shape[0])])


def named(value: Any) -> Any:
    return dict(enumerate(value.tolist())) if isinstance(value, np.ndarray) else value


def shares(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(N) * (rng.random(N) < 0.5)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"alpha": 0.5},
        {"alpha": 0.0},
        {"personalization": shares(1)},
        {"dangling": shares(2)},
        {"personalization": shares(1), "dangling": shares(2), "nstart": shares(3)},
    ],
    ids=["plain", "half", "none", "personal", "dangling", "all"],
)
def test_agrees_with_networkx(given: dict[str, Any]) -> None:
    A = graph()
    x = osp.linalg.pagerank(A, tol=1e-14, maxiter=1000, **given)
    assert type(x) is np.ndarray
    assert abs(x - by_networkx(A, tol=1e-14, max_iter=1000, **given)).max() < 1e-14
    assert x.sum() == pytest.approx(1, abs=1e-15)


def test_ends_when_networkx_does() -> None:
    """Also with a coarse tolerance: the same iterations, to the last."""
    A = graph()
    for tol in (1e-2, 1e-4, 1e-6):
        assert abs(osp.linalg.pagerank(A, tol=tol) - by_networkx(A, tol=tol)).max() < 1e-15


def test_agrees_with_the_equations(xp: ModuleType) -> None:
    A = graph().toarray()
    out = A.sum(axis=1, keepdims=True)
    steps = np.where(out > 0, A / np.where(out > 0, out, 1), 1 / N)
    right = np.linalg.solve(np.eye(N) - 0.85 * steps.T, np.full(N, 0.15 / N))
    x = osp.linalg.pagerank(xp.asarray(A), tol=1e-15, maxiter=1000)
    assert isinstance(x, xp.ndarray)
    assert abs(backend.to_numpy(x) - right).max() < 1e-14


@pytest.mark.parametrize(
    "make",
    [
        lambda A: A.tocoo(),
        lambda A: scipy.sparse.linalg.aslinearoperator(A),
        lambda A: osp.linalg.LinearOperator(A.shape, lambda x: A @ x, lambda y: A.T @ y),
    ],
    ids=["sparse", "scipy operator", "operator"],
)
def test_kinds_of_matrices(make: Any) -> None:
    assert abs(osp.linalg.pagerank(make(graph())) - osp.linalg.pagerank(graph())).max() < 1e-16


@pytest.mark.parametrize("residence", RESIDENCES)
def test_over_graphs(residence: str) -> None:
    A = graph()
    with dask.config.set(scheduler="synchronous"):
        for lazy in (osp.sparse.CSRMatrix.from_scipy(A, blocks=2), da.from_array(A.toarray(), chunks=(17, 12))):
            x = osp.linalg.pagerank(on(residence, lazy), personalization=shares(1), tol=1e-10)
            assert isinstance(x, da.Array)
            assert abs(here(x) - osp.linalg.pagerank(A, personalization=shares(1), tol=1e-10)).max() < 1e-14


def test_single_precision() -> None:
    x = osp.linalg.pagerank(graph().astype("float32"))
    assert x.dtype == "float32"
    assert abs(x - osp.linalg.pagerank(graph())).max() < 1e-5


def test_no_edges_and_no_nodes() -> None:
    assert osp.linalg.pagerank(scipy.sparse.csr_array((4, 4))).tolist() == [0.25] * 4
    assert osp.linalg.pagerank(np.empty((0, 0))).shape == (0,)
    assert osp.linalg.pagerank(np.ones((1, 1))).tolist() == [1]


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("weight", [-0.5, np.nan])
def test_weights_that_are_none(weight: float, lazily: bool) -> None:
    A = graph()
    A.data[5] = weight
    with dask.config.set(scheduler="synchronous"):
        for matrix in (A, A.toarray()) if not lazily else (osp.sparse.CSRMatrix.from_scipy(A), da.asarray(A.toarray())):
            with pytest.raises(osp.UsageError, match=f"cannot use a weight of {weight:g}: pass weights"):
                osp.linalg.pagerank(matrix)


def test_nan_of_an_operator() -> None:
    A = graph()
    A.data[5] = np.nan
    with pytest.raises(osp.ConvergenceError, match="A brought NaN"):
        osp.linalg.pagerank(scipy.sparse.linalg.aslinearoperator(A))


def test_maxiter() -> None:
    with pytest.raises(osp.ConvergenceError, match=r"maxiter was reached at iteration 3, with changes of .* in all"):
        osp.linalg.pagerank(graph(), maxiter=3, tol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": 1.5}, r"cannot use alpha=1\.5"),
        ({"tol": -1}, r"cannot use tol=-1"),
        ({"maxiter": 0}, r"maxiter=0"),
        ({"personalization": np.zeros(N)}, r"cannot use personalization= of sum 0"),
        ({"dangling": np.r_[-1, np.ones(N - 1)]}, r"cannot use dangling= of sum 38, least -1"),
        ({"nstart": np.full(N, np.nan)}, r"cannot use nstart= of sum nan"),
        ({"personalization": np.ones(3)}, r"cannot use personalization= of shape \(3,\)"),
        ({"personalization": {0: 1.0}}, r"cannot use personalization= of shape \(\)"),
    ],
)
def test_arguments_that_cannot_be_used(given: dict[str, Any], message: str) -> None:
    with pytest.raises(osp.OverspillError, match=message):
        osp.linalg.pagerank(graph(), **given)


def test_matrices_that_cannot_be_used() -> None:
    with pytest.raises(osp.ArrayError, match="square"):
        osp.linalg.pagerank(np.ones((3, 4)))
    with pytest.raises(osp.DTypeError, match="complex128"):
        osp.linalg.pagerank(np.ones((3, 3), complex))


@pytest.mark.skipif(not FACEBOOK.exists(), reason="needs shared/data/facebook_combined.txt beside the repository")
def test_a_real_graph() -> None:
    pairs = np.loadtxt(FACEBOOK, dtype=int)
    edges = np.vstack([pairs, pairs[:, ::-1]])
    A = scipy.sparse.coo_array((np.ones(len(edges)), tuple(edges.T))).tocsr()
    x = osp.linalg.pagerank(A, tol=1e-14, maxiter=1000)
    assert abs(x - by_networkx(A, tol=1e-14, max_iter=1000)).max() < 1e-10
