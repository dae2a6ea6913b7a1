"""The two workers that modules of tests share: what one of these leaves behind does not harm the next."""

import time

from distributed import Event

from overspill.memory import tile
from two_workers import Program, attached


def hold(name: str) -> None:
    Event(name).set()
    time.sleep(600)


def test_tasks_left_by_a_failed_test_hold_nobody_up(two_processes: Program) -> None:
    names = ["first", "second"]
    with attached(two_processes) as before:
        futures = before.client.map(hold, names)
        assert all(Event(name, before.client).wait(30) for name in names)
        del futures
    with attached(two_processes) as after:
        assert after.client.submit(sum, [1, 2]).result(timeout=30) == 3
        assert list(after.client.run(lambda: tile.pool().limit_nbytes).values()) == [2**27] * 2
