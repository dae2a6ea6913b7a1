"""Where copies of chunks stay, and where they are dropped: the manager runs when a test says so, not by the clock."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import numpy as np
import pytest
from distributed import Client, Future, Scheduler, wait
from distributed.active_memory_manager import ReduceReplicas, RetireWorker
from distributed.core import Status

from in_process import in_process
from overspill.cluster import Cluster, cluster, copies, network
from overspill.cluster.copies import ROOM, KeepCopies

CHUNK_NBYTES = 2**16
PLENTY = 2**30
"""A device budget that the tests do not fill."""

MANAGER = "distributed.scheduler.active-memory-manager"

begun = threading.Semaphore(0)
"""Counts `gated` tasks that have started."""

opened = threading.Event()
"""Lets them end."""


@contextmanager
def workers(**settings: Any) -> Iterator[Client]:
    """Three workers of two threads in this process, with these settings of Dask's manager."""
    with (
        dask.config.set({f"{MANAGER}.{name}": value for name, value in {"interval": "1h", **settings}.items()}),
        in_process(3, 2) as client,
    ):
        yield client


@pytest.fixture
def three() -> Iterator[Client]:
    with workers() as client:
        yield client


@pytest.fixture
def gate(three: Client) -> Iterator[threading.Event]:
    """Shut; opened at the latest before the workers end."""
    opened.clear()
    yield opened
    opened.set()


def gated(chunk: Any) -> int:
    begun.release()
    assert opened.wait(60)
    return len(chunk)


def on_gpu(nbytes: int) -> Any:
    import cupy

    return cupy.zeros(nbytes, "u1")


def names(client: Client) -> tuple[str, ...]:
    return tuple(sorted(client.ncores()))


def chunks(client: Client, worker: str, count: int = 1, *, of: str = "cupy.ndarray") -> list[Future]:
    """Chunks that a task made on `worker`; the scheduler takes them for what a GPU would have made."""
    made = [client.submit(np.zeros, CHUNK_NBYTES, "u1", workers=[worker], pure=False) for _ in range(count)]
    wait(made)

    def call_them(dask_scheduler: Scheduler) -> None:
        for future in made:
            dask_scheduler.tasks[future.key].type = of

    client.run_on_scheduler(call_them)
    return made


def fetch(client: Client, fetched: list[Future], *by: str) -> None:
    """Let a task on each of these workers need the chunks."""
    client.gather([client.submit(len, fetched, workers=[worker], pure=False) for worker in by])


def run_once(client: Client) -> None:
    client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.extensions["amm"].run_once())


def holders(client: Client, future: Future) -> set[str]:
    return set(client.who_has([future])[future.key])


def policies(client: Client) -> list[type]:
    return client.run_on_scheduler(
        lambda dask_scheduler: [type(policy) for policy in dask_scheduler.extensions["amm"].policies]
    )


def budget_for(count: float) -> int:
    """A device budget whose room so many chunks fill."""
    return int(count * CHUNK_NBYTES / ROOM)


def test_the_manager_s_own_policy_drops_copies(three: Client) -> None:
    a, b, _ = names(three)
    (chunk,) = chunks(three, a)
    fetch(three, [chunk], b)
    assert holders(three, chunk) == {a, b}
    run_once(three)
    assert len(holders(three, chunk)) == 1


def test_copies_stay_where_there_is_room(three: Client) -> None:
    three.run_on_scheduler(copies.replace_policy, PLENTY)
    a, b, c = names(three)
    (chunk,) = chunks(three, a)
    fetch(three, [chunk], b, c)
    run_once(three)
    assert holders(three, chunk) == {a, b, c}


def test_copies_are_dropped_only_where_room_is_lacking(three: Client) -> None:
    three.run_on_scheduler(copies.replace_policy, budget_for(2.5))
    a, b, c = names(three)
    (chunk,) = chunks(three, a)
    filling = chunks(three, c, 2)
    fetch(three, [chunk], b, c)
    run_once(three)
    assert holders(three, chunk) == {a, b}
    assert [holders(three, future) for future in filling] == [{c}, {c}]


def test_no_more_copies_are_dropped_than_room_takes(three: Client) -> None:
    three.run_on_scheduler(copies.replace_policy, budget_for(3.5))
    a, b, _ = names(three)
    fetched = chunks(three, a, 3)
    own = chunks(three, b, 2)
    fetch(three, fetched, b)
    run_once(three)
    assert sorted(len(holders(three, future)) for future in fetched) == [1, 1, 2]
    assert all(a in holders(three, future) for future in fetched)
    assert len(own) == 2


def test_the_last_copy_is_never_dropped(three: Client) -> None:
    three.run_on_scheduler(copies.replace_policy, 0)
    a, b, c = names(three)
    (chunk,) = chunks(three, a)
    fetch(three, [chunk], b, c)
    for _ in range(2):
        run_once(three)
        assert len(holders(three, chunk)) == 1
    assert chunk.result().nbytes == CHUNK_NBYTES


def test_copies_that_tasks_wait_for_stay(three: Client, gate: threading.Event) -> None:
    three.run_on_scheduler(copies.replace_policy, 0)
    a, b, c = names(three)
    (chunk,) = chunks(three, a)
    fetch(three, [chunk], b, c)
    waiting = [three.submit(gated, chunk, workers=[worker], pure=False) for worker in (b, c)]
    assert all(begun.acquire(timeout=60) for _ in waiting)
    run_once(three)
    assert holders(three, chunk) == {b, c}
    gate.set()
    assert three.gather(waiting) == [CHUNK_NBYTES] * 2


@pytest.mark.parametrize("kind", ["numpy.ndarray", "int"])
def test_copies_of_what_lies_on_the_host_are_dropped_as_ever(three: Client, kind: str) -> None:
    three.run_on_scheduler(copies.replace_policy, PLENTY)
    a, b, c = names(three)
    (chunk,) = chunks(three, a, of=kind)
    fetch(three, [chunk], b, c)
    run_once(three)
    assert len(holders(three, chunk)) == 1


def test_workers_that_retire_drop_before_those_without_room(three: Client) -> None:
    three.run_on_scheduler(copies.replace_policy, budget_for(1.5))
    a, b, _ = names(three)
    (chunk,) = chunks(three, a)
    filling = chunks(three, b, 2)
    fetch(three, [chunk], b)
    three.run_on_scheduler(
        lambda dask_scheduler: dask_scheduler.handle_worker_status_change(Status.closing_gracefully, a, "test")
    )
    run_once(three)
    assert holders(three, chunk) == {b}
    assert len(filling) == 2


@pytest.mark.parametrize("budget", [0, PLENTY])
def test_workers_retire_with_nothing_lost(three: Client, budget: int) -> None:
    three.run_on_scheduler(copies.replace_policy, budget)
    a, b, c = names(three)
    alone, copied = chunks(three, a, 2)
    fetch(three, [copied], b)
    assert list(three.retire_workers([a])) == [a]
    assert holders(three, alone) <= {b, c}
    assert holders(three, copied) <= {b, c}
    assert [future.result().nbytes for future in (alone, copied)] == [CHUNK_NBYTES] * 2
    run_once(three)
    assert policies(three) == [KeepCopies]


def test_chunks_are_fetched_together_as_far_as_a_budget_has_room(
    three: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limits(device_nbytes: int) -> set[float]:
        three.run(lambda dask_worker: copies.fetch_several(dask_worker, device_nbytes))
        return set(three.run(lambda dask_worker: dask_worker.state.transfer_message_bytes_limit).values())

    (stock,) = limits(PLENTY)
    assert stock < PLENTY
    monkeypatch.setattr(network, "reaches_devices", lambda address: True)
    assert limits(1) == {stock}
    assert limits(128 * PLENTY) == {2 * PLENTY}


def test_one_policy_takes_the_place_of_the_other(three: Client) -> None:
    assert policies(three) == [ReduceReplicas]
    for _ in range(2):
        three.run_on_scheduler(copies.replace_policy, PLENTY)
        assert policies(three) == [KeepCopies]
    assert three.amm.running()


def test_a_manager_that_is_off_stays_off() -> None:
    with workers(start=False) as client:
        client.run_on_scheduler(copies.replace_policy, PLENTY)
        assert not client.amm.running()


def test_other_policies_stay(three: Client) -> None:
    three.run_on_scheduler(
        lambda dask_scheduler: dask_scheduler.extensions["amm"].add_policy(RetireWorker("a worker that hands over"))
    )
    three.run_on_scheduler(copies.replace_policy, PLENTY)
    assert set(policies(three)) == {RetireWorker, KeepCopies}


def test_where_no_copy_is_to_be_dropped_none_is() -> None:
    with workers(policies=[]) as client:
        client.run_on_scheduler(copies.replace_policy, 0)
        assert policies(client) == []


def test_a_scheduler_without_a_manager_is_left_alone(three: Client) -> None:
    three.run_on_scheduler(lambda dask_scheduler: dask_scheduler.extensions.pop("amm").stop())
    three.run_on_scheduler(copies.replace_policy, PLENTY)
    assert three.run_on_scheduler(lambda dask_scheduler: "amm" in dask_scheduler.extensions) is False


def test_what_does_not_go_from_gpu_to_gpu_is_left_to_dask(three: Client, two_workers: Cluster) -> None:
    copies.keep(three, PLENTY)
    for client in (three, two_workers.client):
        assert policies(client) == [ReduceReplicas]


@pytest.mark.multi_gpu
@pytest.mark.parametrize(("protocol", "kept"), [("ucx", True), ("tcp", False)])
def test_gpus_keep_what_they_fetched(protocol: str, kept: bool) -> None:
    pytest.importorskip("dask_cuda")
    pytest.importorskip("distributed_ucxx")
    asked: dict[str, Any] = {"CUDA_VISIBLE_DEVICES": "0,1", "protocol": protocol, "dashboard_address": None}
    with (
        dask.config.set({f"{MANAGER}.interval": "1h"}),
        cluster(gpu=True, memory="1GiB", device_memory="8GiB", **asked) as started,
    ):
        client = started.client
        limits = client.run(lambda dask_worker: dask_worker.state.transfer_message_bytes_limit)
        assert (set(limits.values()) == {2**33 / 64}) == kept
        a, b = names(client)
        chunk = client.submit(on_gpu, CHUNK_NBYTES, workers=[a])
        wait(chunk)
        fetch(client, [chunk], b)
        assert policies(client) == [KeepCopies if kept else ReduceReplicas]
        run_once(client)
        assert (holders(client, chunk) == {a, b}) == kept
