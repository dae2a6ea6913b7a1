"""What a dead worker held is made again first."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from distributed import Event, Scheduler, wait

from overspill.cluster import cluster


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline


def squared(number: int) -> int:
    return number**2


def once_told(number: int) -> int:
    assert Event("go").wait(timeout=60)
    return number


@pytest.mark.usefixtures("nothing_left")
def test_what_was_lost_goes_before_what_waits() -> None:
    with cluster(gpu=False, n_workers=2, memory="64MiB", dashboard_address=None) as opened:
        client = opened.client
        pids = client.run(os.getpid)
        made = client.map(squared, range(12))
        wait(made)
        victim = most(client.who_has(made))
        (survivor,) = pids.keys() - {victim}
        waiting = client.map(once_told, range(100, 106), workers=[survivor])
        used = client.map(once_told, made)
        until(lambda: len(client.processing()[survivor]) > 2)
        os.kill(pids[victim], signal.SIGKILL)
        until(lambda: victim not in client.ncores())
        tasks = client.run_on_scheduler(states)
        remade = [tasks[future.key] for future in made if tasks[future.key][0] != "memory"]
        assert len(remade) > 2 and {state for state, _ in remade} == {"processing"}
        last = max(priority for _, priority in remade)
        assert all(last < tasks[future.key][1] for future in [*waiting, *used])
        Event("go", client=client).set()
        assert client.gather(used) == [number**2 for number in range(12)]


def most(holders: dict[str, tuple[str, ...]]) -> str:
    """The worker that holds most."""
    return Counter(address for addresses in holders.values() for address in addresses).most_common(1)[0][0]


def states(dask_scheduler: Scheduler) -> dict[Any, tuple[str, Any]]:
    return {key: (task.state, task.priority) for key, task in dask_scheduler.tasks.items()}
