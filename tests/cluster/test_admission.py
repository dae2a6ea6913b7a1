"""Tasks together, and one alone: nobody begins beside it, and it waits for everybody but those that stand aside."""

import asyncio
import threading
from typing import Any

import pytest
from distributed import get_worker

from overspill.cluster import cluster
from overspill.cluster.admission import Admission


def test_one_alone_waits_for_all_and_keeps_all_out() -> None:
    order: list[str] = []

    async def scenario() -> None:
        admission = Admission(lambda: 0)
        inside, leave = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            await admission.open()
            with admission.together():
                inside.set()
                await leave.wait()
                order.append("first ends")

        async def alone(name: str) -> None:
            async with admission.alone(bool):
                order.append(f"{name} begins")
                await asyncio.sleep(0)
                order.append(f"{name} ends")

        async def late() -> None:
            await admission.open()
            with admission.together():
                order.append("late")

        tasks = [asyncio.create_task(first())]
        await inside.wait()
        tasks += [asyncio.create_task(alone("a")), asyncio.create_task(alone("b")), asyncio.create_task(late())]
        for _ in range(5):
            await asyncio.sleep(0)
        assert order == []
        leave.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)

    asyncio.run(scenario())
    assert order == ["first ends", "a begins", "a ends", "b begins", "b ends", "late"]


def test_tasks_that_stand_aside_are_not_waited_for() -> None:
    async def scenario() -> None:
        admission = Admission(lambda: 1)
        with admission.together():
            async with asyncio.timeout(10), admission.alone(bool):
                pass

    asyncio.run(scenario())


def test_a_failure_alone_lets_the_others_in() -> None:
    async def scenario() -> None:
        admission = Admission(lambda: 0)
        try:
            async with admission.alone(bool):
                raise MemoryError
        except MemoryError:
            pass
        async with asyncio.timeout(10):
            await admission.open()

    asyncio.run(scenario())


def test_one_alone_that_waits_for_others_lets_them_in() -> None:
    async def scenario() -> None:
        admission, gone = Admission(lambda: 0), False

        async def child() -> None:
            await admission.open()
            with admission.together():
                pass

        async with asyncio.timeout(10), admission.alone(lambda: gone):
            waiting = asyncio.create_task(child())
            for _ in range(5):
                await asyncio.sleep(0)
            assert not waiting.done()
            gone = True
            admission.look_again()
            await waiting

    asyncio.run(scenario())


def prepare(dask_worker: Any) -> None:
    dask_worker.beside, dask_worker.inside, dask_worker.attempts = threading.Barrier(2), [], []


def greedy(number: int) -> list[int]:
    """Runs out of memory beside another one; who is there the second time."""
    worker: Any = get_worker()
    worker.inside.append(number)
    worker.attempts.append(number)
    try:
        if worker.attempts.count(number) == 1:
            worker.beside.wait(30)
            raise MemoryError("beside another one")
        return list(worker.inside)
    finally:
        worker.inside.remove(number)


def test_tasks_that_run_out_of_memory_run_again_alone() -> None:
    with cluster(gpu=False, n_workers=1, threads_per_worker=2, memory="64MiB", dashboard_address=None) as started:
        started.client.run(prepare)
        assert started.client.gather(started.client.map(greedy, range(2), pure=False)) == [[0], [1]]


def test_a_task_that_cannot_do_with_the_memory_there_is_fails() -> None:
    def hopeless() -> None:
        get_worker().attempts += 1
        raise MemoryError("even alone")

    with cluster(gpu=False, n_workers=1, memory="64MiB", dashboard_address=None) as started:
        started.client.run(lambda dask_worker: setattr(dask_worker, "attempts", 0))
        with pytest.raises(MemoryError, match="even alone"):
            started.client.submit(hopeless).result()
        assert list(started.client.run(lambda dask_worker: dask_worker.attempts).values()) == [2]
