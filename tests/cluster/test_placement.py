"""Which workers make the tiles of products."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, futures_of, wait

import overspill as osp
from cases import assert_product, matrix
from in_process import in_process
from overspill.cluster import Cluster, attached, cluster
from overspill.cluster.placement import ProductPlacement
from overspill.doctor.measure import addresses
from overspill.errors import ClusterError
from overspill.ops.residence import holds_tiles
from overspill.planning.placement import PRODUCT_NAME, placed

A, B = matrix((64, 48), "float64", 1), matrix((48, 64), "float64", 2)
BLOCKS = placed([(i, j) for i in range(4) for j in range(4)], 4)

opened = threading.Event()
"""Lets `gated` chunks be made."""


@contextmanager
def four_workers() -> Iterator[Client]:
    """Four workers of one thread in this process, whose scheduler has the plugin."""
    with in_process(4, 1) as client:
        client.register_plugin(ProductPlacement())
        yield client


@pytest.fixture
def four() -> Iterator[Client]:
    """Four workers of which none takes what was given to another."""
    with dask.config.set({"distributed.scheduler.work-stealing": False}), four_workers() as client:
        yield client


@pytest.fixture(autouse=True)
def shut() -> Iterator[None]:
    opened.clear()
    yield
    opened.set()


def gated(chunk: Any) -> Any:
    assert opened.wait(60)
    return chunk


def product(a: Any = A, b: Any = B) -> da.Array:
    return osp.matmul(da.asarray(a, chunks=16), da.asarray(b, chunks=16), chunks=16)


def made(client: Client, x: da.Array, **options: Any) -> tuple[da.Array, dict[tuple[int, ...], str]]:
    """`x`, persisted, and the worker that made each of its chunks, by index."""
    kept = client.persist(x, **options)
    wait(kept)
    owners = client.who_has(futures_of(kept))
    return kept, {future.key[1:]: owners[future.key][0] for future in futures_of(kept)}


def restrictions(client: Client) -> dict[Any, set[str] | None]:
    """Workers that the scheduler was told of for each task, by key."""
    return client.run_on_scheduler(
        lambda dask_scheduler: {key: task.worker_restrictions for key, task in dask_scheduler.tasks.items()}
    )


def places(client: Client) -> bool:
    return client.run_on_scheduler(lambda dask_scheduler: ProductPlacement.name in dask_scheduler.plugins)


def in_blocks(client: Client) -> dict[tuple[int, ...], str]:
    return {position: addresses(client)[worker] for position, worker in BLOCKS.items()}


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline


def test_names_of_products_are_names_of_tiles() -> None:
    x = product()
    assert x.name.startswith(f"{PRODUCT_NAME}-")
    assert holds_tiles(x)


def test_four_workers_get_four_blocks_each_time(four: Client) -> None:
    for _ in range(2):
        x, owners = made(four, product())
        assert owners == in_blocks(four)
        assert_product(x.compute(), A, B)
        del x
        until(lambda: not restrictions(four))


def test_also_when_one_worker_holds_the_operands(four: Client) -> None:
    one = addresses(four)[2]
    a, b = (four.persist(osp.to_host(da.asarray(x, chunks=16)), workers=[one]) for x in (A, B))
    wait([a, b])
    assert all(holders == [one] for holders in four.who_has(futures_of([a, b])).values())
    x, owners = made(four, product(a, b))
    assert owners == in_blocks(four)
    assert_product(x.compute(), A, B)


@pytest.mark.parametrize(
    ("follow", "expected"),
    [
        (lambda x: x + 1, BLOCKS),
        (lambda x: osp.elementwise(np.sin)(x), BLOCKS),
        (lambda x: x.T, BLOCKS),
        (lambda x: x[:30], placed([(i, j) for i in range(2) for j in range(4)], 4)),
        (lambda x: x[:, :1], {(i, 0): i for i in range(4)}),
        (lambda x: x[:, 0], {(i,): i for i in range(4)}),
        (lambda x: x[None], {(0, i, j): worker for (i, j), worker in BLOCKS.items()}),
    ],
    ids=["sum", "elementwise", "transposed", "rows", "a column", "a vector", "three axes"],
)
def test_what_follows_tile_by_tile_is_placed_with_the_product(
    four: Client, follow: Callable[[Any], Any], expected: dict[tuple[int, ...], int]
) -> None:
    x, owners = made(four, follow(product()))
    assert owners == {index: addresses(four)[worker] for index, worker in expected.items()}
    np.testing.assert_allclose(x.compute(), follow(A @ B))


def test_small_products_of_one_graph_are_spread(four: Client) -> None:
    pairs = [osp.matmul(A + shift, B[:, :32], chunks=(64, 16)) for shift in range(4)]
    kept = four.persist(pairs)
    wait(kept)
    counts = Counter(worker for (worker,) in four.who_has(futures_of(kept)).values())
    assert counts == dict.fromkeys(addresses(four), 2)


def test_tiles_of_a_worker_that_is_gone_are_made_by_others(four: Client) -> None:
    a = da.from_array(A, chunks=A.shape).map_blocks(gated, dtype=A.dtype, meta=A[:0, :0])
    x = four.persist(osp.matmul(a, da.asarray(B), chunks=16))
    until(lambda: any(four.processing().values()))
    lost = next(address for address, tasks in four.processing().items() if not tasks)
    assert [{lost}] * 4 == [told for told in restrictions(four).values() if told == {lost}]
    four.retire_workers([lost])
    opened.set()
    assert_product(x.compute(), A, B)
    assert lost not in addresses(four)


def test_workers_that_idle_take_tiles_of_one_that_is_busy() -> None:
    with four_workers() as client:
        busy = addresses(client)[0]
        task = client.submit(gated, 0, workers=[busy])
        until(lambda: any(client.processing().values()))
        x, owners = made(client, product())
        assert busy not in owners.values()
        opened.set()
        assert task.result() == 0
        assert_product(x.compute(), A, B)


def test_where_a_user_wants_them_tiles_stay(four: Client) -> None:
    one = addresses(four)[3]
    _, owners = made(four, product(), workers=[one])
    assert set(owners.values()) == {one}


def test_other_graphs_are_left_alone(four: Client) -> None:
    kept = four.persist([da.ones((64, 64), chunks=16) + 1, osp.to_host(da.ones((64, 64), chunks=16))])
    wait(kept)
    assert set(restrictions(four).values()) == {None}


def test_a_product_of_one_tile_is_left_alone(four: Client) -> None:
    kept = four.persist(osp.matmul(A, B, chunks=64))
    wait(kept)
    assert set(restrictions(four).values()) == {None}


def test_a_scheduler_goes_on_placing_tiles_whoever_leaves_it(four: Client) -> None:
    four.unregister_scheduler_plugin(ProductPlacement.name)
    for _ in range(2):
        with Client(four.scheduler.address) as other:
            attached.place_products(other)
        assert places(four)


def test_a_scheduler_that_cannot_is_told_so(four: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def register(plugin: object) -> None:
        raise ModuleNotFoundError(name="overspill")

    monkeypatch.setattr(four, "register_plugin", register)
    with pytest.raises(ClusterError, match="the scheduler misses overspill: install this overspill where it runs"):
        attached.place_products(four)


def test_workers_on_cpus_are_left_to_dask(two_workers: Cluster) -> None:
    assert not places(two_workers.client)


def test_tiles_whose_operands_are_made_anew_are_left_to_dasks_queue(four: Client) -> None:
    a = da.random.default_rng(0).standard_normal((512, 512), chunks=128)
    x = osp.matmul(a, a.T, chunks=128, memory="3MiB")
    (plan,) = osp.plan(x).products
    assert not plan.hold_a
    assert not plan.hold_b
    kept = four.persist(x)
    wait(kept)
    assert set(restrictions(four).values()) == {None}


@pytest.mark.multi_gpu
@pytest.mark.parametrize("residence", ["host", "device"])
def test_gpus_get_as_many_tiles_each(residence: str) -> None:
    pytest.importorskip("dask_cuda")
    with cluster(n_workers=2, memory="1GiB", dashboard_address=None) as started:
        client = started.client
        a, b = client.persist([osp.to_device(da.asarray(x, chunks=16)) for x in (A, B)], workers=[addresses(client)[1]])
        x = client.persist(osp.matmul(a, b, residence=residence, chunks=16))
        wait(x)
        told = restrictions(client)
        counts = Counter(next(iter(told[future.key] or ["nobody"])) for future in futures_of(x))
        assert counts == dict.fromkeys(addresses(client), 8)
        assert_product(osp.to_host(x).compute(), A, B)
