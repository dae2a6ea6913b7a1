import threading
from collections.abc import Iterator

import pytest

from overspill import memory
from overspill.memory import ledger


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    ledger.reset()
    yield
    ledger.reset()


def test_counts_add_up_over_threads() -> None:
    def work() -> None:
        for _ in range(1000):
            ledger.record(tasks=1, flop=10)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = ledger.snapshot()
    assert (found["tasks"], found["flop"], found["read_nbytes"]) == (4000, 40_000, 0)


def test_peaks_are_of_what_is_held_at_a_time() -> None:
    x = memory.empty((100_000,), "u1")
    nbytes = memory.tile.pool().used_nbytes()
    del x
    assert ledger.snapshot()["peak_pool_nbytes"] == nbytes >= 100_000
    ledger.record_device(30)
    ledger.record_device(20)
    ledger.record_device(-40)
    assert ledger.snapshot()["peak_device_nbytes"] == 50
    ledger.reset()
    assert ledger.snapshot()["peak_pool_nbytes"] == 0
    assert ledger.snapshot()["peak_device_nbytes"] == 10, "what is still held counts from the start"
    ledger.record_device(-10)


def test_what_overflowed_is_told() -> None:
    memory.configure(pool_nbytes=0)
    memory.empty((100_000,), "u1")
    assert ledger.snapshot()["overflow_nbytes"] >= 100_000


def test_processes_add_up_but_for_the_device_peak() -> None:
    one = dict.fromkeys([*ledger.COUNTERS, "peak_device_nbytes", "peak_pool_nbytes", "overflow_nbytes"], 1)
    total = ledger.total([one, one | {"peak_device_nbytes": 5}])
    assert total == dict.fromkeys(one, 2) | {"peak_device_nbytes": 5}
    assert ledger.total([])["peak_device_nbytes"] == 0
