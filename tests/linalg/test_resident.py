"""Solvers on two workers: what they find, what they tell, and how they end when somebody else ends them."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse
from distributed import get_client

import overspill as osp
from linalg.cores import (
    counts_until_it_has_restarted,
    fails_on_one,
    goes_on_for_ever,
    goes_on_with_nothing_to_restart_from,
    identity,
    ignore,
    poisson,
    products,
    rank_of,
    runs_out_of_memory,
)
from overspill.cluster import Cluster
from overspill.errors import ClusterError, MemoryBudgetError
from overspill.linalg import cg, resident
from overspill.linalg.resident import reporting
from overspill.linalg.spreading import spread
from overspill.sparse import CSRMatrix


@pytest.fixture(scope="module")
def A(two_workers: Cluster) -> CSRMatrix:
    return CSRMatrix.from_scipy(poisson(), blocks=5)


def vector(A: CSRMatrix, seed: int = 0) -> da.Array:
    return da.from_array(np.random.default_rng(seed).random(A.shape[0]), chunks=(A.row_chunks,))


@pytest.fixture
def nothing_running(two_workers: Cluster) -> Iterator[None]:
    """After the test no worker works for it any more, listens for it, or holds a thread of it."""
    yield
    client = two_workers.client
    done = threading.Event()
    for _ in range(1000):
        if not any(client.run(_left).values()):
            return
        done.wait(0.01)
    raise AssertionError(client.run(_left))


def _left(dask_worker: Any) -> list[str]:
    from overspill.linalg.resident import meeting

    tasks = [
        str(key) for key, task in dask_worker.state.tasks.items() if "round" in str(key) and task.state != "memory"
    ]
    return tasks + [name for name, _ in meeting._listening]


def test_it_is_for_square_matrices_on_a_cluster(A: CSRMatrix) -> None:
    assert resident.available(A)
    assert resident.available(A.T)
    assert not resident.available(A[:100])
    assert not resident.available(poisson())
    with dask.config.set(scheduler="synchronous"):
        assert not resident.available(A)


def test_a_solution_stays_on_the_workers(two_workers: Cluster, A: CSRMatrix, nothing_running: None) -> None:
    b = vector(A)
    x, info = cg(A, b, rtol=1e-10)
    assert info == 0
    assert x.chunks == (A.row_chunks,)
    assert all(two_workers.client.who_has(x).values())
    np.testing.assert_allclose(poisson() @ x.compute(), b.compute(), atol=1e-8)


def test_every_worker_takes_part(A: CSRMatrix, nothing_running: None) -> None:
    assert resident.solve(rank_of, A, {}, None, {}, progress=ignore) == ((), 2)


@pytest.mark.parametrize("mode", ["matrix", "transposed", "adjoint"])
def test_operators_and_sums_are_those_of_the_whole(A: CSRMatrix, mode: str) -> None:
    part = scipy.sparse.random_array(A.shape, density=0.01, rng=np.random.default_rng(len(mode)))
    whole = (poisson() + 1j * part).tocsr()
    view = CSRMatrix.from_scipy(whole, blocks=3)
    given = {"matrix": view, "transposed": view.T, "adjoint": view.H}[mode]
    meant = {"matrix": whole, "transposed": whole.T, "adjoint": whole.conj().T}[mode]
    rng = np.random.default_rng(1)
    x, X = rng.random(A.shape[0]), rng.random((A.shape[0], 2))
    vectors = {"x": da.from_array(x, chunks=(view.row_chunks,)), "X": da.from_array(X, chunks=(view.row_chunks, (2,)))}
    (y, Y), (dots, gram) = resident.solve(products, given, vectors, None, {}, progress=ignore)
    np.testing.assert_allclose(y.compute(), meant @ x)
    np.testing.assert_allclose(Y.compute(), meant @ X)
    np.testing.assert_allclose(dots, [x @ x, x @ (meant @ x)])
    np.testing.assert_allclose(gram, X.T @ (meant @ X))


@pytest.mark.parametrize("name", ["jacobi", "block_jacobi", "chebyshev"])
def test_preconditioners_go_along(A: CSRMatrix, name: str) -> None:
    M = {
        "jacobi": lambda: osp.linalg.jacobi(A),
        "block_jacobi": lambda: osp.linalg.block_jacobi(A, 10),
        "chebyshev": lambda: osp.linalg.chebyshev(A, 3),
    }[name]()
    b = vector(A)
    x, info = cg(A, b, rtol=1e-10, M=M)
    assert info == 0
    np.testing.assert_allclose(poisson() @ x.compute(), b.compute(), atol=1e-8)


def test_parts_of_a_preconditioner_are_for_the_same_row_blocks_only(A: CSRMatrix) -> None:
    b, other = vector(A), CSRMatrix.from_scipy(poisson(), blocks=3)
    M = osp.linalg.block_jacobi(other, 10)
    assert osp.linalg.block_jacobi(A, 10).splits_as(A)
    assert osp.linalg.jacobi(other).splits_as(A)
    assert not M.splits_as(A)
    assert np.isfinite(cg(A, b, maxiter=1, M=M)[0].compute()).all()
    with pytest.raises(osp.ArrayError, match="matrix in memory cannot take Dask vectors: make it of a CSRMatrix"):
        cg(A, b, M=osp.linalg.block_jacobi(poisson(), 10))


def test_an_error_on_one_worker_is_the_clients(A: CSRMatrix, nothing_running: None) -> None:
    with pytest.raises(ZeroDivisionError, match="on rank 1"):
        resident.solve(fails_on_one, A, {"x": vector(A)}, None, {}, progress=ignore)
    assert resident.solve(rank_of, A, {}, None, {}, progress=ignore)[1] == 2


def test_too_little_memory_is_said_in_a_sentence(A: CSRMatrix, nothing_running: None) -> None:
    with pytest.raises(MemoryBudgetError, match="solver's vectors do not fit beside"):
        resident.solve(runs_out_of_memory, A, {}, None, {}, progress=ignore)


class Stop(BaseException):
    """What an impatient person does."""


def test_who_stops_waiting_stops_the_workers(A: CSRMatrix, nothing_running: None) -> None:
    told: list[int] = []

    def progress(iteration: int, residual: float, **restart: Any) -> None:
        told.append(iteration)
        if len(told) == 2:
            raise Stop

    with pytest.raises(Stop):
        resident.solve(goes_on_for_ever, A, {"x": vector(A)}, None, {}, progress=progress)
    assert told[1] > told[0] > 0


def test_other_tasks_are_not_held_up(two_workers: Cluster, A: CSRMatrix, nothing_running: None) -> None:
    """Both workers have one thread each, and both are in the round when other work is asked for."""

    def progress(iteration: int, residual: float, **restart: Any) -> None:
        assert two_workers.client.gather(two_workers.client.map(lambda i: i + 1, range(4), pure=False)) == [1, 2, 3, 4]
        raise Stop

    with pytest.raises(Stop):
        resident.solve(goes_on_for_ever, A, {"x": vector(A)}, None, {}, progress=progress)


def available_within() -> tuple[bool, bool]:
    get_client()
    return resident.available(identity(4)), resident.solving.active_client() is not None


def test_a_task_starts_no_round_that_would_wait_for_it(two_workers: Cluster) -> None:
    assert resident.available(identity(4))
    assert two_workers.client.submit(available_within).result() == (False, True)


def solve_beside_a_killed_worker(
    cluster: Cluster, A: CSRMatrix, x: da.Array | None = None, core: Any = counts_until_it_has_restarted
) -> Any:
    told: list[int] = []
    client = cluster.client
    client.run(setattr, reporting, "CHECKPOINT_S", 0.2)

    def progress(iteration: int, residual: float, **restart: Any) -> None:
        told.append(iteration)
        if len(told) == 8:  # some two seconds later
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    x = da.zeros(A.shape[0], chunks=(A.row_chunks,)) if x is None else x
    return resident.solve(core, A, {"x": x}, None, {}, progress=progress)


@pytest.mark.slow
def test_when_a_worker_is_killed_the_others_go_on_from_the_last_checkpoint() -> None:
    with osp.cluster(gpu=False, n_workers=2, threads_per_worker=1, memory="256MiB", dashboard_address=None) as cluster:
        (y,), iterations = solve_beside_a_killed_worker(cluster, identity(40_000, blocks=4))
        found = y.compute()
    assert iterations == 10
    assert found.min() == found.max() > 10


@pytest.mark.slow
def test_a_matrix_that_died_with_a_worker_is_named() -> None:
    with osp.cluster(gpu=False, n_workers=2, threads_per_worker=1, memory="256MiB", dashboard_address=None) as cluster:
        A = CSRMatrix.from_scipy(scipy.sparse.eye_array(40_000), blocks=4)
        with pytest.raises(ClusterError, match="blocks of the matrix were lost"):
            solve_beside_a_killed_worker(cluster, A)


@pytest.mark.slow
def test_a_result_that_died_with_a_worker_is_missed_at_once() -> None:
    with osp.cluster(gpu=False, n_workers=2, threads_per_worker=1, memory="256MiB", dashboard_address=None) as cluster:
        A = identity(40_000, blocks=4)
        x, info = cg(A, vector(A))
        assert info == 0
        os.kill(next(iter(cluster.client.run(os.getpid).values())), signal.SIGKILL)
        with pytest.raises(ClusterError, match="result was lost with the worker"):
            x.compute()


@pytest.mark.slow
def test_a_vector_that_died_with_a_worker_is_named() -> None:
    with osp.cluster(gpu=False, n_workers=2, threads_per_worker=1, memory="256MiB", dashboard_address=None) as cluster:
        b = spread(np.ones(40_000), (10_000,) * 4)
        with pytest.raises(ClusterError, match="parts of a vector of this process were lost"):
            solve_beside_a_killed_worker(cluster, identity(40_000, blocks=4), b, goes_on_with_nothing_to_restart_from)
