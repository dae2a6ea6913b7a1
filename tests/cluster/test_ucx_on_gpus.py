"""CuPy chunks over UCXX: from GPU to GPU within budgets, beside tiles; two workers of one GPU stand in for two GPUs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Future, LocalCluster, wait

import overspill as osp
from cases import assert_product, random_array
from overspill import memory
from overspill.backend import to_numpy
from overspill.cluster import Cluster, cluster, local, network
from overspill.memory.store import process

pytest.importorskip("distributed_ucxx")
pytest.importorskip("dask_cuda")

pytestmark = pytest.mark.gpu

MIB = 2**20
LIMIT = 256 * MIB
"""Of each worker on its GPU."""

WAIT_S = 60


@contextmanager
def on_one_gpu() -> Iterator[Cluster]:
    """Two workers that share a GPU, which dask-cuda would not start."""
    asked = {"n_workers": 2, "threads_per_worker": 2, "protocol": "ucx", "env": network.UNCACHED}
    keywords = local.with_defaults("LocalCluster", asked | {"dashboard_address": None})
    keywords |= network.keywords_for("LocalCluster", keywords)
    with (
        dask.config.set({"distributed-ucxx.create-cuda-context": True}),
        local.running(LocalCluster, keywords) as started,
        cluster(started.scheduler_address, gpu=True, memory="2GiB", device_memory=LIMIT) as attached,
    ):
        yield attached


@contextmanager
def on_two_gpus() -> Iterator[Cluster]:
    asked: dict[str, Any] = {"CUDA_VISIBLE_DEVICES": "0,1", "protocol": "ucx", "dashboard_address": None}
    with cluster(gpu=True, memory="2GiB", device_memory=LIMIT, **asked) as started:
        yield started


@pytest.fixture(
    scope="module", params=[on_one_gpu, pytest.param(on_two_gpus, marks=pytest.mark.multi_gpu)], ids=["one", "two"]
)
def over_ucx(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with request.param() as started:
        yield started


def filled(number: float, nbytes: int) -> Any:
    import cupy

    return cupy.full(nbytes // 8, number)


def total(x: Any) -> float:
    return float(x.sum())


def made(started: Cluster, number: float, nbytes: int) -> Future:
    """A value on the first worker's GPU."""
    future: Future = started.client.submit(
        filled, number, nbytes, workers=list(started.client.ncores())[:1], pure=False
    )
    wait(future, WAIT_S)
    return future


def elsewhere(started: Cluster, x: Future) -> float:
    """Its sum, by the second worker."""
    there = list(started.client.ncores())[1:]
    return float(started.client.submit(total, x, workers=there, pure=False).result(timeout=WAIT_S))


def figures(started: Cluster) -> list[dict[str, Any]]:
    return list(started.client.run(lambda dask_worker: dask_worker.data.figures()).values())


def crossed(started: Cluster) -> int:
    """Bytes that went between the host and GPUs so far."""
    links = ("host_to_device", "device_to_host")
    return sum(of_worker["links"][link]["nbytes"] for of_worker in figures(started) for link in links)


def give_back(started: Cluster) -> None:
    """Wait until the workers hold nothing, and let them give their GPU memory back to the driver."""
    client, deadline = started.client, time.monotonic() + WAIT_S
    while any(client.run(lambda dask_worker: len(dask_worker.data)).values()):
        assert time.monotonic() < deadline
    client.run(lambda: process.trim(2**62))


def free_nbytes(started: Cluster) -> list[int]:
    """What the driver says is free on each worker's GPU."""

    def asked() -> int:
        import cupy

        return int(cupy.cuda.runtime.memGetInfo()[0])

    return list(started.client.run(asked).values())


def test_workers_talk_over_ucxx_and_the_scheduler_over_tcp(over_ucx: Cluster) -> None:
    client = over_ucx.client
    assert client.scheduler.address.startswith("tcp://")
    assert all(address.startswith("ucx://") for address in client.ncores())


def test_chunks_cross_no_host_link(over_ucx: Cluster) -> None:
    nbytes = 64 * MIB
    x = made(over_ucx, 3, nbytes)
    before = crossed(over_ucx)
    assert elsewhere(over_ucx, x) == 3 * nbytes // 8
    assert crossed(over_ucx) - before < MIB


@pytest.mark.parametrize("nbytes", [8, 800, 10 * MIB + 8])
def test_sizes(over_ucx: Cluster, nbytes: int) -> None:
    assert elsewhere(over_ucx, made(over_ucx, 1, nbytes)) == nbytes // 8


def test_what_arrives_counts_and_makes_room(over_ucx: Cluster) -> None:
    nbytes, many = 32 * MIB, 2 * LIMIT // (32 * MIB)
    futures = [made(over_ucx, number, nbytes) for number in range(many)]
    assert [elsewhere(over_ucx, x) for x in futures] == [number * nbytes // 8 for number in range(many)]
    for of_worker in figures(over_ucx):
        assert of_worker["allocated_nbytes"] <= LIMIT
        assert of_worker["tiers"]["device"]["nbytes"] <= LIMIT


def test_memory_that_was_given_back_is_not_read_again(over_ucx: Cluster) -> None:
    nbytes = 64 * MIB
    free = []
    for number in range(1, 9):
        x = made(over_ucx, number, nbytes)
        assert elsewhere(over_ucx, x) == number * nbytes // 8
        x.release()
        give_back(over_ucx)
        free.append(free_nbytes(over_ucx))
    # A peer that kept it mapped would keep it taken.
    assert min(free[-1]) > min(free[1]) - nbytes


def test_many_at_once_both_ways(over_ucx: Cluster) -> None:
    x = da.random.default_rng(0).standard_normal((2048, 2048), chunks=256)
    y = osp.to_device(x).persist()
    expected = x.compute()
    np.testing.assert_array_equal(to_numpy((y + y.T).compute()), to_numpy(expected + expected.T))


def test_host_tiles_travel_as_handles(over_ucx: Cluster) -> None:
    client = over_ucx.client
    here, there = client.ncores()

    def tile() -> Any:
        x = memory.empty((2**20,), "f8")
        x[...] = 1
        return x

    x = client.submit(tile, workers=[here], pure=False)
    assert client.submit(memory.is_tile, x, workers=[there], pure=False).result(timeout=WAIT_S)
    assert memory.is_tile(x.result(timeout=WAIT_S))


def test_the_client_gets_what_lies_on_gpus(over_ucx: Cluster) -> None:
    x = made(over_ucx, 2, 8 * MIB)
    assert total(x.result(timeout=WAIT_S)) == 2 * MIB


@pytest.mark.parametrize("residence", ["host", "device"])
def test_a_product_of_device_chunks(over_ucx: Cluster, residence: Any) -> None:
    host = random_array(((700,) * 3, (900,) * 2), 1), random_array(((600,) * 3, (1100,) * 2), 2)
    a, b = (osp.to_device(x).persist() for x in host)
    c = osp.matmul(a, b, residence=residence, chunks=(350, 550)).compute()
    assert_product(c if residence == "host" else c.get(), *(x.compute() for x in host))


def test_the_plan_says_what_carries_chunks(over_ucx: Cluster) -> None:
    assert osp.plan(da.ones((8, 8), chunks=4) + 1).network.startswith("UCXX: ")


def test_a_worker_that_is_killed_costs_only_time() -> None:
    with on_one_gpu() as started:
        x = da.random.default_rng(0).standard_normal((1024, 1024), chunks=128)
        y = osp.to_device(x).persist()
        wait(y)
        victim = next(iter(started.client.run(os.getpid).values()))
        z = (y + y.T).persist()
        os.kill(victim, signal.SIGKILL)
        expected = x.compute()
        np.testing.assert_array_equal(to_numpy(z.compute()), to_numpy(expected + expected.T))
