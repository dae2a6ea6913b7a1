"""Which tile of a product a worker begins with."""

import asyncio
import importlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dask.array as da
import pytest
from dask._task_spec import Task
from distributed import futures_of, get_task_stream, wait
from distributed.worker_state_machine import TaskState

import overspill as osp
from cases import assert_product, matrix
from overspill.cluster import Cluster, cluster, precedence
from overspill.cluster.placement import ProductPlacement
from overspill.cluster.precedence import Precedence
from overspill.ops.matmul import ProductLayer
from overspill.planning.matmul_plan import MatmulPlan

matmul = importlib.import_module("overspill.ops.matmul")  # whose name in its package is the function's

A, B = matrix((48, 16), "float64", 1), matrix((16, 32), "float64", 2)


@pytest.fixture(scope="module")
def workers() -> Iterator[Cluster]:
    """Two workers of two threads each, to which products are dealt out as they are to GPUs."""
    with cluster(gpu=False, n_workers=2, threads_per_worker=2, dashboard_address=None) as started:
        started.client.register_plugin(ProductPlacement())
        yield started


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles begin with narrow panels or wide ones, as on GPUs."""
    settled = matmul.beginnings

    def as_on_gpus(plan: MatmulPlan, workers: int) -> Any:
        return settled(replace(plan, first_panels=()), workers)

    monkeypatch.setattr(matmul, "beginnings", as_on_gpus)


def be_patient(seconds: float) -> None:
    precedence.PATIENCE_S = seconds


@pytest.mark.parametrize("elsewhere", [0, 1])
def test_the_one_that_is_to_begin_does_though_a_chunk_of_it_is_elsewhere(workers: Cluster, elsewhere: int) -> None:
    client = workers.client
    client.run(be_patient, 30)
    found = client.scheduler_info(n_workers=-1)["workers"]
    addresses = sorted(found, key=lambda address: str(found[address]["name"]))
    owner = addresses[elsewhere]
    a, b = (client.persist(osp.to_host(da.asarray(x, chunks=16)), workers=[owner]) for x in (A, B))
    wait([a, b])
    client.replicate([future for future in futures_of([a, b]) if future.key != (a.name, 2, 0)])
    with get_task_stream(client) as stream:
        c = client.persist(osp.matmul(a, b, chunks=16))
        wait(c)
    assert_product(c.compute(), A, B)
    begun = defaultdict(list)
    for task in stream.data:
        if task["key"][0] == c.name:
            (start,) = (one["start"] for one in task["startstops"] if one["action"] == "compute")
            begun[task["worker"]].append((start, task["key"][1:]))
    assert {address: min(tiles)[1] for address, tiles in begun.items()} == {
        address: (2, column) for column, address in enumerate(addresses)
    }


def gives_way(state: str | None, asked: int = 1, patience_s: float = 0.01, turns: str | None = None) -> list[bool]:
    """What a tile is told as often as it is `asked`, while the one before which it may not begin is in `state`."""
    a, b = (da.asarray(x, chunks=16) for x in (A, B))
    product = osp.matmul(a, b, chunks=16)
    (layer,) = (layer for layer in product.dask.layers.values() if isinstance(layer, ProductLayer))
    tasks = {key: TaskState(key, run_spec=task, state="executing") for key, task in layer.mapping.items()}
    (tile,) = (key for key, task in layer.mapping.items() if key[1:] == (0, 0))
    first = (tile[0], *layer.mapping[tile].args[0].first)
    tasks["other"] = TaskState("other", run_spec=Task("other", int), state="executing")
    tasks["data"] = TaskState("data")
    if state is None:
        del tasks[first]
    else:
        tasks[first].state = state  # type: ignore[assignment]

    async def scenario() -> list[bool]:
        asking = Precedence(tasks)
        assert not any([await asking.gives_way(key) for key in (first, "other", "data", "unknown")])
        if turns:
            asyncio.get_running_loop().call_later(0.01, setattr, tasks[first], "state", turns)
        return [await asking.gives_way(tile) for _ in range(asked)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precedence, "PATIENCE_S", patience_s)
        return asyncio.run(scenario())


@pytest.mark.parametrize("state", [None, "executing", "memory", "released", "waiting"])
def test_who_is_not_about_to_begin_is_not_waited_for(state: str | None) -> None:
    assert gives_way(state) == [False]


def test_who_is_about_to_begin_does_once() -> None:
    assert gives_way("ready", asked=4) == [True, False, True, False]


@pytest.mark.parametrize(("turns", "told"), [("ready", True), ("executing", False), ("released", False)])
def test_who_fetches_its_chunks_is_waited_for(turns: str, told: bool) -> None:
    assert gives_way("waiting", turns=turns, patience_s=30) == [told]
