"""A product whose worker is killed half-way is right, and nothing of the dead worker stays mapped: CPUs and GPUs."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from distributed import Client, as_completed, futures_of, wait

import overspill as osp
from cases import assert_product, random_array
from overspill.cluster import Cluster
from overspill.memory import borrowed

ON_CPUS = {"gpu": False, "n_workers": 3, "memory": "1GiB"}
ON_GPUS = {"gpu": True, "memory": "4GiB", "device_memory": "256MiB"}


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline


@pytest.fixture(params=[ON_CPUS, pytest.param(ON_GPUS, marks=pytest.mark.multi_gpu)], ids=["cpu", "gpu"])
def workers(request: pytest.FixtureRequest, nothing_left: None) -> Iterator[Cluster]:
    with osp.cluster(dashboard_address=None, **request.param) as opened:
        yield opened


@pytest.mark.parametrize("kept", [True, False], ids=["operands kept", "one graph"])
def test_a_worker_killed_half_way_costs_only_time(workers: Cluster, kept: bool) -> None:
    client = workers.client
    count = len(client.ncores())
    victim = killed_half_way(client, kept)
    until(lambda: len(client.ncores()) == count)
    assert victim not in client.run(os.getpid).values()
    gc.collect()
    until(lambda: not any(victim in mapped for mapped in (owners(), *client.run(owners).values())))


def killed_half_way(client: Client, kept: bool) -> int:
    """The process that was killed while the product was made, which is right all the same."""
    a, b = (osp.to_host(random_array(((300,) * 8, (300,) * 8), seed)) for seed in (1, 2))
    expected = a.compute(), b.compute()
    if kept:
        a, b = client.persist([a, b])
        wait([a, b])
    pids = client.run(os.getpid)
    c = client.persist(osp.matmul(a, b, chunks=300))
    tiles = futures_of(c)
    finished = as_completed(tiles)
    first, *_ = (next(finished) for _ in range(len(tiles) // 2))
    victim = pids[next(iter(client.who_has([first])[first.key]))]
    os.kill(victim, signal.SIGKILL)
    assert any(tile.status != "finished" for tile in tiles), "the product was there before the worker was killed"
    assert_product(np.asarray(c.compute()), *expected)
    return victim


def owners() -> set[int]:
    """Processes whose tiles are mapped here."""
    return {segment.owner for segment in list(borrowed._mapped.values())}
