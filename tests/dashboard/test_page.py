import asyncio
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Div, Title
from distributed import Client, LocalCluster, Worker
from distributed.dashboard.scheduler import applications

from dashboard.browser import opened
from overspill import memory
from overspill.cluster.metrics import expose, withdraw
from overspill.dashboard import preload
from overspill.dashboard.history import History, recorded
from overspill.dashboard.observed import observed
from overspill.dashboard.page import NO_STORE, Page
from overspill.memory.store import Store
from overspill.units import format_nbytes

T = TypeVar("T")


@pytest.fixture(autouse=True)
def limited(tmp_path: Path) -> Iterator[None]:
    memory.configure(pool_nbytes=64 * 2**20, directory=str(tmp_path))
    yield
    memory.close()


@contextmanager
def served(data: Any, n_workers: int, dashboard_address: str | None = ":0") -> Iterator[LocalCluster]:
    """Workers in this process whose results lie in what `data` makes, under a scheduler that serves the page."""
    with LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=False,
        dashboard_address=dashboard_address,
        scheduler_kwargs={"preload": "overspill.dashboard.preload", "dashboard_address": ":0"},
        memory_limit=0,
        data=data,
    ) as cluster:
        workers = list(cluster.workers.values())
        for worker in workers:
            expose(worker)
        try:
            beat(cluster)
            yield cluster
        finally:
            for worker in workers:
                withdraw(worker)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with served(Store, 2) as cluster:
        yield cluster


def beat(cluster: LocalCluster) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(worker.heartbeat() for worker in cluster.workers.values()))

    cluster.sync(all_of_them)


def on_loop(cluster: LocalCluster, function: Callable[..., T], *args: Any) -> T:
    """The result of `function`, called where the scheduler runs."""

    async def call() -> T:
        return function(*args)

    result: T = cluster.sync(call)
    return result


def keep(cluster: LocalCluster, lengths: list[int]) -> Any:
    """Arrays of `lengths` items, one on each worker, for as long as what is returned lives."""
    client = Client(cluster)
    futures = [
        client.submit(np.ones, length, workers=[worker.address], pure=False)
        for length, worker in zip(lengths, cluster.workers.values(), strict=True)
    ]
    client.gather(futures)
    beat(cluster)
    return client, futures


def get(cluster: LocalCluster, page: str) -> str:
    address = f"http://127.0.0.1:{cluster.scheduler.http_server.port}/{page}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_is_served_and_linked(cluster: LocalCluster) -> None:
    assert "embed_items" in get(cluster, "overspill")
    assert '<a href="overspill">Overspill</a>' in get(cluster, "status")


def test_a_browser_gets_the_stores_figures(cluster: LocalCluster) -> None:
    client, futures = keep(cluster, [1000, 2000])
    document = page_of(cluster)
    shown = next(source.data for source in sources(document) if "host_nbytes" in source.data)
    stores = {worker.address: worker.data.figures() for worker in cluster.workers.values()}
    assert sorted(shown["address"]) == sorted(stores)
    for row, address in enumerate(shown["address"]):
        of_tiers = stores[address]["tiers"]
        assert [shown[f"{tier}_nbytes"][row] for tier in of_tiers] == [tier["nbytes"] for tier in of_tiers.values()]
        assert [shown[f"{tier}_limit_nbytes"][row] for tier in of_tiers] == [
            tier["limit_nbytes"] for tier in of_tiers.values()
        ]
    assert sorted(shown["host_nbytes"]) == [8000, 16000]
    assert list(shown["in_memory"]) == [1, 1]
    limit_nbytes = sum(figures["tiers"]["host"]["limit_nbytes"] for figures in stores.values())
    titles = [title.text for title in document.select({"type": Title})]
    assert f"Host memory: {format_nbytes(24000)}, limit {format_nbytes(limit_nbytes)} (dashed)" in titles
    del futures
    client.close()


def test_the_scheduler_keeps_the_history(cluster: LocalCluster) -> None:
    client, futures = keep(cluster, [1000, 2000])
    history = on_loop(cluster, recorded, cluster.scheduler)
    assert isinstance(cluster.scheduler.extensions["overspill-history"], History)
    on_loop(cluster, history.record, 1.0, observed(cluster.scheduler))
    page = on_loop(cluster, Page, cluster.scheduler)
    assert page.history is history
    on_loop(cluster, page.update)
    assert [ys[-1] for ys in page.tiers[1].bands.data["ys"]] == [0, 8000]
    del futures
    client.close()


def test_workers_that_go_are_shown_no_more(cluster: LocalCluster) -> None:
    page = on_loop(cluster, Page, cluster.scheduler)
    on_loop(cluster, page.update)
    assert page.names.factors == ["1", "0"]
    page.choice.value = next(worker.id for worker in observed(cluster.scheduler) if worker.name == "1")
    on_loop(cluster, page.update)
    assert page.choice.value

    gone: Worker = cluster.workers[1]
    cluster.sync(gone.close)
    on_loop(cluster, page.update)
    assert page.names.factors == ["0"]
    assert page.choice.options == [
        ("", "all workers"),
        (page.choice.options[1][0], f"0 · {cluster.workers[0].address}"),
    ]
    assert page.choice.value == ""


def test_workers_that_come_are_shown_once_they_have_a_store(cluster: LocalCluster) -> None:
    page = on_loop(cluster, Page, cluster.scheduler)
    with Client(cluster) as client:
        cluster.scale(3)
        client.wait_for_workers(3, timeout=30)
    on_loop(cluster, page.update)
    assert page.names.factors == ["1", "0"]
    assert page.message.text == "1 of 3 workers have no store"

    added: Worker = cluster.workers[2]
    expose(added)
    beat(cluster)
    on_loop(cluster, page.update)
    withdraw(added)
    assert page.names.factors == ["2", "1", "0"]
    assert page.message.text == ""


def test_a_page_says_that_no_worker_has_a_store() -> None:
    with served(dict, 1) as cluster:
        document = page_of(cluster)
        assert NO_STORE.strip() in [div.text.strip() for div in document.select({"type": Div})]
        page = on_loop(cluster, Page, cluster.scheduler)
        on_loop(cluster, page.update)
        assert not page.shown.visible


def test_what_exists_is_shown(cluster: LocalCluster) -> None:
    page = on_loop(cluster, Page, cluster.scheduler)
    on_loop(cluster, page.update)
    assert page.shown.visible
    assert [chart.root.visible for chart in page.tiers] == [False, True, True]
    assert [chart.root.visible for chart in page.links] == [False, True]
    assert [chart.root.visible for chart in page.bars] == [False, True, True]
    assert list(page.evictions.source.data["cause"]) == ["host limit", "host allocation"]


def test_without_a_dashboard_nothing_is_kept() -> None:
    with served(Store, 1, dashboard_address=None) as cluster:
        assert "overspill-history" not in cluster.scheduler.extensions
        assert "overspill-history" not in cluster.scheduler.periodic_callbacks


def test_registering_again_changes_nothing(cluster: LocalCluster) -> None:
    before, history = dict(applications), recorded(cluster.scheduler)
    preload.register()
    on_loop(cluster, preload.dask_setup, cluster.scheduler)
    assert applications == before
    assert recorded(cluster.scheduler) is history
    assert get(cluster, "overspill").count('href="overspill"') == 1


def page_of(cluster: LocalCluster) -> Document:
    return opened(f"http://127.0.0.1:{cluster.scheduler.http_server.port}/overspill")


def sources(document: Document) -> list[ColumnDataSource]:
    return [model for model in document.models if isinstance(model, ColumnDataSource)]
