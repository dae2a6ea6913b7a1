"""Which tile of a product a worker begins with."""

import asyncio
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dask
import dask.array as da
import pytest
from dask._task_spec import Task
from distributed import futures_of, wait
from distributed.worker_state_machine import TaskState

import overspill as osp
from cases import assert_product, matrix
from overspill.cluster import Cluster, cluster, precedence
from overspill.cluster.placement import ProductPlacement
from overspill.cluster.precedence import Precedence
from overspill.doctor.measure import addresses
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.placement import is_of_product

matmul = importlib.import_module("overspill.ops.matmul")  # whose name in its package is the function's

A, B = matrix((48, 16), "float64", 1), matrix((16, 32), "float64", 2)


@pytest.fixture(scope="module")
def workers() -> Iterator[Cluster]:
    """Two workers of two threads each, to which products are dealt out as they are to GPUs."""
    with cluster(gpu=False, n_workers=2, threads_per_worker=2, dashboard_address=None) as started:
        started.client.register_plugin(ProductPlacement())
        started.client.run(note_beginnings)
        yield started


def note_beginnings(dask_worker: Any) -> None:
    """Note each task that the worker begins: Dask's own stamps follow its changing idea of the scheduler's clock."""
    dask_worker.begun, execute = [], dask_worker._execute

    async def noted(key: Any, stimulus_id: str) -> Any:
        dask_worker.begun.append(key)
        return await execute(key, stimulus_id)

    dask_worker._execute = noted


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
    owners = addresses(client)
    a, b = (client.persist(osp.to_host(da.asarray(x, chunks=16)), workers=[owners[elsewhere]]) for x in (A, B))
    wait([a, b])
    client.replicate([future for future in futures_of([a, b]) if future.key != (a.name, 2, 0)])
    client.run(lambda dask_worker: dask_worker.begun.clear())
    c = client.persist(osp.matmul(a, b, chunks=16))
    assert_product(c.compute(), A, B)
    begun = client.run(lambda dask_worker: [key[1:] for key in dask_worker.begun if key[0] == c.name])
    assert {address: tiles[0] for address, tiles in begun.items()} == {
        address: (2, column) for column, address in enumerate(owners)
    }


def product(follow: Callable[[da.Array], da.Array] = lambda c: c) -> tuple[dict[Any, TaskState], Any, Any]:
    """Tasks of a worker, the tile at (0, 0) and the one that is to begin before it, fused with what follows."""
    a, b = (osp.to_host(da.asarray(x, chunks=16)).persist(scheduler="synchronous") for x in (A, B))
    c = osp.matmul(a, b, chunks=16)
    first = c.dask[c.name, 0, 0].args[0].first
    (kept,) = dask.optimize(follow(c))
    name = next(key[0] for key in kept.dask if is_of_product(key))
    tasks = {key: TaskState(key, run_spec=kept.dask[key], state="executing") for key in kept.dask if key[0] == name}
    tasks["other"] = TaskState("other", run_spec=Task("other", int), state="executing")
    tasks["data"] = TaskState("data")
    return tasks, (name, 0, 0), (name, *first)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precedence, "PATIENCE_S", 30)


@pytest.mark.parametrize("state", [None, "executing", "memory", "released"])
@pytest.mark.usefixtures("patient")
def test_who_is_not_about_to_begin_is_not_waited_for(state: Any) -> None:
    tasks, tile, first = product()
    tasks[first].state = state
    if state is None:
        del tasks[first]
    assert not asyncio.run(Precedence(tasks).gives_way(tile))


@pytest.mark.parametrize(("follow", "argument"), [(lambda c: c, "TileTask"), (lambda c: c + 1, "dict")])
def test_who_is_about_to_begin_gets_the_place(follow: Callable[[da.Array], da.Array], argument: str) -> None:
    tasks, tile, first = product(follow)
    assert type(tasks[tile].run_spec.args[0]).__name__ == argument
    tasks[first].state = "ready"
    asking = Precedence(tasks)
    told = [asyncio.run(asking.gives_way(key)) for key in (tile, tile, tile, first, "other", "data", "unknown")]
    assert told == [True, *[False] * 6], "once"
    assert asyncio.run(asking.gives_way(tile)), "and again when it is to begin again"


def test_what_was_fused_with_another_order_is_left_alone() -> None:
    tasks, (name, *_), _ = product(lambda c: c[::-1])
    last = name, 2, 0  # made of the tile at (0, 0), before which the one at (2, 0) is to begin
    tasks[last].state = "ready"
    assert not asyncio.run(Precedence(tasks).gives_way(last))


@pytest.mark.parametrize(("turns", "told"), [("ready", [True, True]), ("executing", [False, False])])
@pytest.mark.usefixtures("patient")
def test_who_fetches_its_chunks_is_waited_for(turns: Any, told: list[bool]) -> None:
    tasks, tile, first = product()
    tasks[first].state = "waiting"

    async def scenario() -> list[bool]:
        asking = Precedence(tasks)
        asyncio.get_running_loop().call_later(0.01, setattr, tasks[first], "state", turns)
        return await asyncio.gather(asking.gives_way(tile), asking.gives_way((tile[0], 1, 0)))

    assert asyncio.run(scenario()) == told


def test_others_wait_no_longer_than_one_would() -> None:
    tasks, tile, first = product()
    tasks[first].state = "waiting"

    async def scenario() -> list[bool]:
        asking = Precedence(tasks)
        return [await asking.gives_way(tile) for _ in range(100)]

    begun = time.monotonic()
    assert asyncio.run(scenario()) == [False] * 100
    assert precedence.PATIENCE_S <= time.monotonic() - begun < 20 * precedence.PATIENCE_S


def test_what_begins_has_reached_its_thread_before_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiles wait; one gives way, and the other finds that the tile they waited for begins, but nothing more."""
    monkeypatch.setattr(precedence, "PATIENCE_S", 30)
    tasks, tile, first = product()
    tasks[first].state = "waiting"
    order: list[str] = []

    async def begin() -> None:
        order.append("first")

    async def ask(asking: Precedence, key: Any) -> None:
        if await asking.gives_way(key):
            tasks[first].state = "executing"  # as Dask does at once, while the task itself is run by the loop later
            running.append(asyncio.create_task(begin()))
        else:
            order.append("another")

    running: list[asyncio.Task[None]] = []

    async def scenario() -> None:
        asking = Precedence(tasks)
        asyncio.get_running_loop().call_later(0.01, setattr, tasks[first], "state", "ready")
        await asyncio.gather(ask(asking, tile), ask(asking, (tile[0], 1, 0)))
        await asyncio.gather(*running)

    asyncio.run(scenario())
    assert order == ["first", "another"]
