import asyncio
import urllib.request
from typing import Any
from urllib.parse import urljoin

import dask.array as da
from bokeh.models import ColumnDataSource
from distributed import Worker, wait

from dashboard.browser import opened
from overspill.cluster import cluster


async def figures_at_rest(dask_worker: Worker) -> dict[str, Any]:
    """What a worker's store says once nothing is on its way to the disk, which the scheduler has heard too."""
    await asyncio.to_thread(dask_worker.data.keeper.settle)
    await dask_worker.heartbeat()
    figures: dict[str, Any] = dask_worker.data.figures()
    return figures


def test_a_cluster_serves_the_page_with_its_stores_figures() -> None:
    with cluster(gpu=False, n_workers=2, memory="64MiB", dashboard_address=":0") as started:
        x = da.arange(2**24, chunks=2**20, dtype="f8").persist()  # 128 MiB
        wait(x)
        client, page = started.client, urljoin(started.dashboard_link, "overspill")
        stores = client.run(figures_at_rest)
        with urllib.request.urlopen(page, timeout=30) as answer:
            assert answer.status == 200
        models = opened(page).models
        shown = next(m.data for m in models if isinstance(m, ColumnDataSource) and "host_nbytes" in m.data)
        assert sorted(shown["address"]) == sorted(stores)
        for row, address in enumerate(shown["address"]):
            for tier, figures in stores[address]["tiers"].items():
                assert shown[f"{tier}_nbytes"][row] == figures["nbytes"]
                assert shown[f"{tier}_limit_nbytes"][row] == figures["limit_nbytes"]
        assert sum(shown["disk_nbytes"]) >= 2**26
