"""Solvers on workers with a GPU each: one test body for one GPU and for several."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse

import overspill as osp
from linalg.cores import (
    counts_until_it_has_restarted,
    fails_on_one,
    goes_on_for_ever,
    identity,
    ignore,
    poisson,
    products,
    rank_of,
)
from overspill.cluster import Cluster
from overspill.linalg import cg, resident
from overspill.linalg.resident import reporting
from overspill.sparse import CSRMatrix


@pytest.fixture(
    scope="module",
    params=[pytest.param("0", marks=pytest.mark.gpu), pytest.param("0,1", marks=pytest.mark.multi_gpu)],
)
def gpu_workers(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with osp.cluster(
        gpu=True, CUDA_VISIBLE_DEVICES=request.param, memory="4GiB", device_memory="2GiB", dashboard_address=None
    ) as started:
        yield started


def on_devices(A: scipy.sparse.csr_array, blocks: int) -> CSRMatrix:
    return CSRMatrix.from_scipy(A, blocks=blocks).to_device()


def vector(A: CSRMatrix, seed: int = 0) -> da.Array:
    return osp.to_device(da.from_array(np.random.default_rng(seed).random(A.shape[0]), chunks=(A.row_chunks,)))


def test_every_gpu_takes_part(gpu_workers: Cluster) -> None:
    A = identity(100, blocks=4).to_device()
    assert resident.available(A)
    assert resident.solve(rank_of, A, {}, None, {}, progress=ignore) == ((), gpu_workers.resources.workers)


@pytest.mark.parametrize("mode", ["matrix", "transposed", "adjoint"])
def test_operators_and_sums_are_those_of_the_whole(gpu_workers: Cluster, mode: str) -> None:
    part = scipy.sparse.random_array((400, 400), density=0.01, rng=np.random.default_rng(2))
    whole = (poisson() + 1j * part).tocsr()
    view = on_devices(whole, blocks=3)
    given = {"matrix": view, "transposed": view.T, "adjoint": view.H}[mode]
    meant = {"matrix": whole, "transposed": whole.T, "adjoint": whole.conj().T}[mode]
    rng = np.random.default_rng(1)
    x, X = rng.random(400), rng.random((400, 2))
    vectors = {"x": da.from_array(x, chunks=(view.row_chunks,)), "X": da.from_array(X, chunks=(view.row_chunks, (2,)))}
    (y, Y), (dots, gram) = resident.solve(products, given, vectors, None, {}, progress=ignore)
    np.testing.assert_allclose(y.compute().get(), meant @ x)
    np.testing.assert_allclose(Y.compute().get(), meant @ X)
    np.testing.assert_allclose(dots, [x @ x, x @ (meant @ x)])
    np.testing.assert_allclose(gram, X.T @ (meant @ X))


@pytest.mark.parametrize("name", ["none", "jacobi", "block_jacobi", "chebyshev"])
def test_solutions_stay_on_the_gpus(gpu_workers: Cluster, name: str) -> None:
    A = on_devices(poisson(), blocks=5)
    M = {
        "none": lambda: None,
        "jacobi": lambda: osp.linalg.jacobi(A),
        "block_jacobi": lambda: osp.linalg.block_jacobi(A, 10),
        "chebyshev": lambda: osp.linalg.chebyshev(A, 3),
    }[name]()
    b = vector(A)
    x, info = cg(A, b, rtol=1e-10, M=M)
    assert info == 0
    found, given = x.compute(), b.compute()
    assert type(found).__module__.startswith("cupy")
    np.testing.assert_allclose(poisson() @ found.get(), given.get(), atol=1e-8)


class Stop(BaseException):
    """What an impatient person does."""


def test_who_stops_waiting_stops_the_workers(gpu_workers: Cluster) -> None:
    A = on_devices(poisson(), blocks=4)

    def progress(iteration: int, residual: float, **restart: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        resident.solve(goes_on_for_ever, A, {"x": vector(A)}, None, {}, progress=progress)
    assert resident.solve(rank_of, A, {}, None, {}, progress=ignore)[1] == gpu_workers.resources.workers


@pytest.mark.multi_gpu
def test_an_error_on_one_gpu_is_the_clients() -> None:
    with osp.cluster(gpu=True, CUDA_VISIBLE_DEVICES="0,1", memory="4GiB", dashboard_address=None):
        A = identity(100, blocks=4).to_device()
        with pytest.raises(ZeroDivisionError, match="on rank 1"):
            resident.solve(fails_on_one, A, {"x": vector(A)}, None, {}, progress=ignore)
        assert resident.solve(rank_of, A, {}, None, {}, progress=ignore)[1] == 2


@pytest.mark.multi_gpu
def test_when_a_gpu_worker_is_killed_the_others_go_on_from_the_last_checkpoint() -> None:
    told: list[int] = []
    with osp.cluster(gpu=True, CUDA_VISIBLE_DEVICES="0,1", memory="4GiB", dashboard_address=None) as cluster:
        client = cluster.client
        client.run(setattr, reporting, "CHECKPOINT_S", 0.2)
        A = identity(1_000_000, blocks=4).to_device()
        x = osp.to_device(da.zeros(A.shape[0], chunks=(A.row_chunks,)))

        def progress(iteration: int, residual: float, **restart: Any) -> None:
            told.append(iteration)
            if len(told) == 8:  # some two seconds later
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        (y,), iterations = resident.solve(counts_until_it_has_restarted, A, {"x": x}, None, {}, progress=progress)
        found = y.compute().get()
    assert iterations == 10
    assert found.min() == found.max() > 10
