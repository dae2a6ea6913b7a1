"""A turn is one task's at a time, and nobody who waits for memory waits for those who wait for it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from overspill import memory
from overspill.memory.store import Store
from overspill.stream.turn import GIVING_WAY_PER_S, Turn


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    memory.configure(pool_nbytes=2**30, directory=str(tmp_path))
    opened = Store(tmp_path)
    opened.open(None)
    yield opened
    opened.close()


def as_task(store: Store, work: Callable[[], bool]) -> bool:
    """What `work` returns, done as a task of the worker that `store` belongs to."""
    inputs = store.pin([])
    try:
        return work()
    finally:
        store.release(inputs)


def test_others_may_take_it_first_while_all_is_idle() -> None:
    turn, asked = Turn(), list[float]()

    def idle() -> bool:
        asked.append(time.monotonic())
        return len(asked) < 4

    turn.let_others(2**62, idle)
    assert len(asked) == 4, "until it is idle no more"
    begun = time.monotonic()
    turn.let_others(GIVING_WAY_PER_S // 20, lambda: True)
    assert 0.05 <= time.monotonic() - begun < 5


def test_one_task_at_a_time() -> None:
    turn, order = Turn(), list[str]()

    def second() -> None:
        with turn:
            order.append("second")

    with ThreadPoolExecutor(1) as threads:
        with turn:
            waiting = threads.submit(second)
            order.append("first")
            assert turn.taken
        waiting.result(timeout=10)
    assert order == ["first", "second"] and not turn.taken


def test_it_is_given_on_after_a_failure() -> None:
    turn = Turn()
    with pytest.raises(ZeroDivisionError), turn:
        _ = 1 / 0
    with ThreadPoolExecutor(1) as threads:
        threads.submit(turn.__enter__).result(timeout=10)


def test_who_has_it_does_not_wait_for_those_who_want_it_to_free_memory(store: Store) -> None:
    turn, taken, counted = Turn(), threading.Event(), threading.Event()

    def first() -> bool:
        with turn:
            taken.set()
            assert counted.wait(timeout=10)
            return store.keeper.reclaim_device(1, temporary=True)

    def second() -> bool:
        counted.set()
        with turn:
            return True

    with ThreadPoolExecutor(2) as threads:
        lacking = threads.submit(as_task, store, first)
        assert taken.wait(timeout=10)
        waiting = threads.submit(as_task, store, second)
        try:
            assert lacking.result(timeout=10) is False, "there is nobody to wait for"
            assert waiting.result(timeout=10)
        finally:
            store.keeper.close()  # or the threads would wait for ever
