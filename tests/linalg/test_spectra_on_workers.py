"""Eigenvalues, singular values, PageRank and the power method on two workers are what they are in memory."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse

import overspill as osp
from overspill.cluster import Cluster

N = 60


@pytest.fixture(scope="module")
def A() -> scipy.sparse.csr_array:
    """Symmetric, positive definite, and with no negative entry."""
    part = scipy.sparse.random_array((N, N), density=0.05, rng=np.random.default_rng(0))
    return (part + part.T + scipy.sparse.diags_array(np.arange(5.0, N + 5))).tocsr()


@pytest.fixture(scope="module")
def lazy(A: Any, two_workers: Cluster) -> osp.sparse.CSRMatrix:
    return osp.sparse.CSRMatrix.from_scipy(A, blocks=3).persist()


@pytest.mark.parametrize("preconditioned", [False, True])
def test_eigsh(A: Any, lazy: Any, preconditioned: bool) -> None:
    M = osp.linalg.jacobi(lazy) if preconditioned else None
    w, v = osp.linalg.eigsh(lazy, 3, which="SA", M=M)
    assert isinstance(v, da.Array)
    assert v.chunks == (lazy.row_chunks, (3,))
    assert abs(w - np.linalg.eigvalsh(A.toarray())[:3]).max() < 1e-12
    v = v.compute()
    assert abs(A @ v - v * w).max() < 1e-12
    assert abs(v.T @ v - np.eye(3)).max() < 1e-12


def test_eigsh_that_does_not_converge(lazy: Any) -> None:
    with pytest.raises(osp.ConvergenceError, match=r"maxiter was reached at iteration 1; 0 of 3 converged"):
        osp.linalg.eigsh(lazy, 3, which="SA", maxiter=1, ncv=5)
    with pytest.raises(osp.ConvergenceError, match="NaN or infinity"):
        osp.linalg.eigsh(lazy * float("nan"), 3)


def test_svds(A: Any, lazy: Any) -> None:
    u, s, vh = osp.linalg.svds(lazy[:40], 2, solver="randomized", n_iter=1)
    assert isinstance(u, da.Array)
    assert abs(s / np.linalg.svd(A[:40].toarray(), compute_uv=False)[1::-1] - 1).max() < 0.05
    u, vh = u.compute(), vh.compute()
    assert abs(u.T @ (A[:40] @ vh.T) - np.diag(s)).max() < 1e-12
    assert abs(u.T @ u - np.eye(2)).max() < 1e-14


def test_pagerank(A: Any, lazy: Any) -> None:
    x = osp.linalg.pagerank(lazy, personalization=np.arange(N), tol=1e-12, maxiter=500)
    assert isinstance(x, da.Array)
    assert abs(x.compute() - osp.linalg.pagerank(A, personalization=np.arange(N), tol=1e-12, maxiter=500)).max() < 1e-14


def test_power_iteration(A: Any, lazy: Any) -> None:
    value, v = osp.linalg.power_iteration(lazy, rtol=1e-10, maxiter=10_000)
    assert value == pytest.approx(np.linalg.eigvalsh(A.toarray())[-1])
    assert np.linalg.norm(A @ v.compute() - value * v.compute()) <= 1.01e-10 * value
