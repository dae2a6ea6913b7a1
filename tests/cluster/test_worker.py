"""Workers that spill, live: the event loop, peers, the figures that Dask shows, back-pressure, and sudden death."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Future, Scheduler, Worker, get_client, get_worker, secede, wait

from overspill.cluster import Cluster, cluster
from overspill.cluster.worker import SpillingWorker
from overspill.memory.store import Store
from overspill.memory.store.disk import Disk

MIB = 2**20
LIMIT = 16 * MIB
"""Of each of two workers."""


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def spilling() -> Iterator[Cluster]:
    """Two workers with two threads each, and little memory."""
    with cluster(gpu=False, n_workers=2, threads_per_worker=2, memory=2 * LIMIT, dashboard_address=None) as started:
        yield started


@pytest.fixture
def workers(spilling: Cluster) -> Iterator[list[str]]:
    """The addresses of workers whose stores are empty."""
    addresses = list(spilling.client.ncores())
    until(lambda: all(count == 0 for count in spilling.client.run(held).values()))
    yield addresses
    spilling.client.run(mend)


def held(dask_worker: Worker) -> int:
    return len(dask_worker.data)


def store_of(worker: Worker) -> Store:
    assert isinstance(worker, SpillingWorker)
    return worker.store


def filled(number: int, nbytes: int = 2 * MIB) -> Any:
    return np.full(nbytes // 8, number, "i8")


def spill(dask_worker: Worker) -> list[bool]:
    """Push everything to disk; which values are still in memory."""
    store = store_of(dask_worker)
    store.keeper.reclaim_host(2**40)
    return [store.resident([key]) for key in store]


def block_reads() -> None:
    """From now on this worker's disk does not answer."""
    opened, read = threading.Event(), Disk.read

    def blocked(self: Disk, file: Any) -> Any:
        assert opened.wait(60)
        return read(self, file)

    Disk._test_opened, Disk._test_read, Disk.read = opened, read, blocked  # type: ignore[attr-defined, method-assign]


def break_reads() -> None:
    """From now on this worker's disk fails."""

    def broken(self: Disk, file: Any) -> Any:
        raise OSError(5, "the disk is broken", str(file.path))

    Disk._test_opened, Disk._test_read, Disk.read = threading.Event(), Disk.read, broken  # type: ignore[attr-defined, method-assign]


def mend() -> None:
    if hasattr(Disk, "_test_opened"):
        Disk._test_opened.set()
        Disk.read = Disk._test_read  # type: ignore[method-assign, attr-defined]
        del Disk._test_opened


def total(x: Any) -> int:
    return int(x.sum())


def test_a_worker_spills_instead_of_dask(spilling: Cluster, workers: list[str]) -> None:
    assert spilling.client.run(lambda dask_worker: type(dask_worker.data).__name__) == dict.fromkeys(workers, "Store")


@pytest.mark.parametrize("where", ["here", "at a peer"])
def test_a_slow_disk_holds_up_only_those_who_read_from_it(spilling: Cluster, workers: list[str], where: str) -> None:
    client, (here, there) = spilling.client, workers
    x = client.submit(filled, 3, workers=[here], pure=False)
    wait(x)
    assert client.run(spill, workers=[here]) == {here: [False]}
    client.run(block_reads, workers=[here])
    reader = client.submit(total, x, workers=[here if where == "here" else there], pure=False)
    for number in range(10):
        assert client.submit(abs, -number, workers=[here], pure=False).result(timeout=20) == number
    assert reader.status == "pending"
    client.run(mend, workers=[here])
    assert reader.result(timeout=20) == 3 * 2 * MIB // 8


def test_a_disk_that_fails_fails_the_tasks_that_need_it_and_loses_nothing(
    spilling: Cluster, workers: list[str]
) -> None:
    client, (here, _) = spilling.client, workers
    x = client.submit(filled, 5, workers=[here], pure=False)
    wait(x)
    client.run(spill, workers=[here])
    client.run(break_reads, workers=[here])
    failed = client.submit(total, x, workers=[here], pure=False)
    assert "the disk is broken" in str(failed.exception(timeout=20))
    client.run(mend, workers=[here])
    assert client.submit(total, x, workers=[here], pure=False).result(timeout=20) == 5 * 2 * MIB // 8


def test_a_client_that_waits_for_a_slow_disk_holds_up_nobody(spilling: Cluster, workers: list[str]) -> None:
    client, (here, _) = spilling.client, workers
    x = client.submit(filled, 4, workers=[here], pure=False)
    wait(x)
    client.run(spill, workers=[here])
    client.run(block_reads, workers=[here])
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(client.gather(x)), daemon=True)
    asking.start()
    for number in range(10):
        assert client.submit(abs, -number, workers=[here], pure=False).result(timeout=20) == number
    assert answers == []
    client.run(mend, workers=[here])
    asking.join(20)
    np.testing.assert_array_equal(answers[0], filled(4))


def test_peers_and_clients_get_what_was_spilled(spilling: Cluster, workers: list[str]) -> None:
    client, (here, there) = spilling.client, workers
    values = {
        "array": filled(5, MIB),
        "transposed": np.arange(2**17).reshape(512, -1).T,
        "small": np.arange(5),
        "mapping": {"a": [filled(6), None], "b": ("text", np.ones(3))},
        "nothing": None,
    }
    futures = {name: client.submit(lambda x=x: x, workers=[here], pure=False) for name, x in values.items()}
    wait(list(futures.values()))
    client.run(spill, workers=[here])
    compared = {
        name: client.submit(np.array_equal, futures[name], x, workers=[there], pure=False)
        for name, x in values.items()
        if isinstance(x, np.ndarray)
    }
    assert client.gather(compared) == dict.fromkeys(compared, True)
    client.run(spill, workers=[here])
    gathered = client.gather(futures)
    for name in ("array", "transposed", "small"):
        np.testing.assert_array_equal(gathered[name], values[name])
    assert gathered["nothing"] is None
    np.testing.assert_array_equal(gathered["mapping"]["a"][0], filled(6))


def spilled(dask_scheduler: Scheduler) -> dict[str, int]:
    return {address: state.memory.spilled for address, state in dask_scheduler.workers.items()}


def files_nbytes(dask_worker: Worker) -> int:
    directory = store_of(dask_worker)._disk.directory
    return sum(path.stat().st_size for path in directory.iterdir()) if directory.exists() else 0


def settled(dask_worker: Worker) -> bool:
    return not store_of(dask_worker).keeper.crowded()


def test_dask_shows_as_spilled_what_the_files_take(spilling: Cluster, workers: list[str]) -> None:
    client = spilling.client
    futures = client.map(filled, range(32), pure=False)
    wait(futures)
    until(lambda: all(client.run(settled).values()))
    on_disk = client.run(files_nbytes)
    assert sum(on_disk.values()) >= 32 * 2 * MIB - 2 * LIMIT
    until(lambda: client.run_on_scheduler(spilled) == on_disk)
    assert [total(x) for x in client.gather(futures)] == [number * 2 * MIB // 8 for number in range(32)]
    del futures
    until(lambda: client.run(files_nbytes) == dict.fromkeys(workers, 0))
    until(lambda: client.run_on_scheduler(spilled) == dict.fromkeys(workers, 0))


def slow_writes() -> None:
    write, never = Disk.write, threading.Event()

    def slow(self: Disk, packed: Any) -> Any:
        never.wait(0.01)
        return write(self, packed)

    Disk._test_write, Disk.write = write, slow  # type: ignore[attr-defined, method-assign]


def swift_writes() -> None:
    Disk.write = Disk._test_write  # type: ignore[method-assign, attr-defined]


def forget_peak(dask_worker: Worker) -> None:
    """From now on, not since the worker was started: tests before may have held more at a time."""
    account = store_of(dask_worker)._tiers.on_host
    account.peak_nbytes = account.nbytes


def peak(dask_worker: Worker) -> int:
    return int(store_of(dask_worker).figures()["tiers"]["host"]["peak_nbytes"])


def test_tasks_wait_for_a_disk_that_is_slower_than_they_are(spilling: Cluster, workers: list[str]) -> None:
    client = spilling.client
    client.run(slow_writes)
    client.run(forget_peak)
    try:
        futures: list[Future] = client.map(filled, range(80), pure=False)
        wait(futures)
        peaks = client.run(peak)
    finally:
        client.run(swift_writes)
    # Each thread may have one value more under way, and one that was made while the last was written.
    assert all(LIMIT < nbytes <= LIMIT + 4 * 2 * MIB for nbytes in peaks.values()), peaks
    sums = client.gather(client.map(total, futures, pure=False))
    assert sums == [number * 2 * MIB // 8 for number in range(80)]


def short_of_memory() -> bool:
    return store_of(get_worker()).keeper.reclaim_device(1, temporary=True)


def asks_another() -> bool:
    worker = get_worker()
    asked = get_client().submit(short_of_memory, pure=False, workers=[worker.address])
    until(lambda: store_of(worker).keeper._turns._waiting == 1)
    secede()
    answer: bool = asked.result(timeout=30)
    return answer


def test_a_task_short_of_memory_does_not_wait_for_one_that_waits_for_it(spilling: Cluster, workers: list[str]) -> None:
    assert spilling.client.submit(asks_another, pure=False).result(timeout=60) is False


@pytest.mark.usefixtures("nothing_left")
def test_a_worker_killed_while_values_are_spilled() -> None:
    n = 2400
    with (
        cluster(gpu=False, n_workers=2, memory="16MiB", dashboard_address=None) as opened,
        dask.config.set({"distributed.scheduler.allowed-failures": 10}),
    ):
        client = opened.client
        x = da.arange(n * n, chunks=n * n // 16).reshape(n, n).rechunk((400, 400)).astype("f8").persist()
        wait(x)
        until(lambda: all(nbytes > 0 for nbytes in client.run(files_nbytes).values()))
        result = client.compute((x + x.T).sum(axis=0) + (x * 2).mean())
        until(lambda: bool(client.run_on_scheduler(running)))
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        expected = np.arange(n * n, dtype="f8").reshape(n, n)
        np.testing.assert_allclose(
            result.result(timeout=90), (expected + expected.T).sum(axis=0) + (expected * 2).mean(), rtol=1e-12
        )
        until(lambda: victim not in client.run(os.getpid).values())


def running(dask_scheduler: Scheduler) -> int:
    return sum(len(state.processing) for state in dask_scheduler.workers.values())


def test_what_was_sent_is_let_go(spilling: Cluster, workers: list[str]) -> None:
    def watch(dask_worker: Worker) -> None:
        store = store_of(dask_worker)
        store._test_sent, prepared = [], store.prepared  # type: ignore[attr-defined]

        def watched(*arguments: Any) -> Any:
            store._test_sent.append(values := prepared(*arguments))  # type: ignore[attr-defined]
            return values

        store.prepared = watched  # type: ignore[method-assign]

    def sent(dask_worker: Worker) -> list[int]:
        store = store_of(dask_worker)
        del store.prepared
        return [len(values) for values in store._test_sent]  # type: ignore[attr-defined]

    here = workers[0]
    x = spilling.client.submit(filled, 3, workers=[here], pure=False)
    wait(x)
    spilling.client.run(watch, workers=[here])
    assert (x.result() == 3).all()
    assert spilling.client.run(sent, workers=[here])[here] == [0]
