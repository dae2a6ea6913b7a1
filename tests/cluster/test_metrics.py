import asyncio
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster, Worker
from distributed.core import Status
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from overspill.cluster.metrics import METRIC, expose, families, withdraw
from overspill.memory.store import Store

FIGURES = {
    "tiers": {
        "device": {"nbytes": 1, "peak_nbytes": 2, "limit_nbytes": 3, "allocations": 4},
        "host": {"nbytes": 5, "peak_nbytes": 6, "limit_nbytes": 7, "allocations": 8},
        "disk": {"nbytes": 9, "peak_nbytes": 10, "limit_nbytes": 0, "allocations": 11},
    },
    "allocated_nbytes": 12,
    "links": {
        "device_to_host": {"nbytes": 13, "seconds": 0.5},
        "host_to_device": {"nbytes": 14, "seconds": 1.5},
        "host_to_disk": {"nbytes": 15, "seconds": 2.5},
        "disk_to_host": {"nbytes": 16, "seconds": 3.5},
    },
    "evictions": {"device_limit": 17, "device_allocation": 18, "host_limit": 19, "host_allocation": 20},
}


@contextmanager
def workers_with(data: Any, n_workers: int) -> Iterator[tuple[LocalCluster, list[Worker]]]:
    """Workers in this process, whose results lie in what `data` makes; what they expose is taken back at the end."""
    with LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": ":0"},
        memory_limit=0,
        data=data,
    ) as cluster:
        workers = list(cluster.workers.values())
        try:
            yield cluster, workers
        finally:
            for worker in workers:
                withdraw(worker)


def beat(cluster: LocalCluster, workers: list[Worker]) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(worker.heartbeat() for worker in workers))

    cluster.sync(all_of_them)


def samples(all_families: Iterable[Metric]) -> dict[tuple[str, ...], float]:
    """Values by name, worker and, where there is one, tier, link or cause."""
    found = {}
    for family in all_families:
        for sample in family.samples:
            labels = dict(sample.labels)
            found[sample.name, labels.pop("worker", ""), *labels.values()] = sample.value
    return found


def scraped(worker: Worker) -> dict[tuple[str, ...], float]:
    """Our samples on the worker's endpoint, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.http_server.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return samples(family for family in text_string_to_metric_families(text) if family.name.startswith("overspill_"))


def expected(worker: Worker) -> dict[tuple[str, ...], float]:
    return samples(families({worker.address: worker.data.figures()}))


def test_every_figure_has_its_sample() -> None:
    found = samples(families({"w": FIGURES}))
    assert sorted(found.values()) == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, *range(4, 21)]
    assert found["overspill_tier_bytes", "w", "host"] == 5
    assert found["overspill_tier_limit_bytes", "w", "host"] == 7
    assert found["overspill_link_seconds_total", "w", "host_to_disk"] == 2.5
    assert found["overspill_evictions_total", "w", "host_allocation"] == 20
    assert ("overspill_tier_limit_bytes", "w", "disk") not in found


def test_the_scheduler_and_prometheus_hear_what_the_store_says() -> None:
    with workers_with(Store, 2) as (cluster, workers), Client(cluster) as client:
        for worker in workers:
            expose(worker)
        ones = client.submit(np.ones, 1000, workers=[workers[0].address], pure=False)
        twos = client.submit(np.ones, 2000, workers=[workers[1].address], pure=False)
        client.gather([ones, twos])
        beat(cluster, workers)
        held = [worker.data.figures()["tiers"]["host"]["nbytes"] for worker in workers]
        assert held == [8000, 16000]
        for worker in workers:
            assert cluster.scheduler.workers[worker.address].metrics[METRIC] == worker.data.figures()
            # They share a process, and so each other's endpoint.
            assert scraped(worker) == expected(workers[0]) | expected(workers[1])


def test_what_is_withdrawn_is_gone() -> None:
    with workers_with(Store, 2) as (cluster, workers):
        first, second = workers
        for worker in (first, second, second):  # as a plugin that replaces one of the same name may do
            expose(worker)
        withdraw(first)
        beat(cluster, workers)
        assert METRIC not in cluster.scheduler.workers[first.address].metrics
        assert METRIC in cluster.scheduler.workers[second.address].metrics
        assert scraped(first) == expected(second)
        withdraw(second)
        assert scraped(first) == {}
        expose(first)
        assert scraped(second) == expected(first)


@pytest.mark.parametrize(("change", "shown"), [(expose, True), (withdraw, False)])
def test_a_heartbeat_under_way_goes_on(change: Callable[[Worker], None], shown: bool) -> None:
    """Of metrics that take their time it waits for each; Dask has such ones of GPUs and of RMM."""
    with workers_with(Store, 1) as (cluster, (worker,)):

        async def changing() -> None:
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def slow(_: Worker) -> None:
                begun.set()
                await go_on.wait()

            worker.metrics = {"slow": slow, "last": lambda _: None} | ({} if shown else {METRIC: lambda _: {}})
            beating = asyncio.ensure_future(worker.heartbeat())
            await begun.wait()
            change(worker)
            go_on.set()
            await beating
            worker.metrics = {name: read for name, read in worker.metrics.items() if name != "slow"}

        cluster.sync(changing)
        assert worker.status == Status.running
        assert (METRIC in worker.metrics) == shown


def test_workers_without_a_store_show_nothing() -> None:
    with workers_with(dict, 1) as (cluster, workers):
        expose(workers[0])
        beat(cluster, workers)
        assert METRIC not in cluster.scheduler.workers[workers[0].address].metrics
        assert scraped(workers[0]) == {}
        withdraw(workers[0])


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    before = set(REGISTRY._names_to_collectors)
    yield
    assert not [name for name in set(REGISTRY._names_to_collectors) - before if name.startswith("overspill")]
