"""Threads that use one store at once, as the tasks, movers and peers of a worker do."""

import random
import threading
from typing import Any

import numpy as np
import pytest

from memory.store.books import assert_books, quiet
from memory.store.conftest import Opened
from memory.store.fake import FakeDevice
from memory.store.kit import BLOCK, content
from overspill.memory.store import Store
from overspill.memory.store.parcel import Parcel

KEYS = 12


class Crowd:
    """Threads that put, take, use, send and delete the same few keys; each value carries its key."""

    def __init__(self, store: Store, device: FakeDevice | None, operations: int) -> None:
        self.store, self.device, self.operations = store, device, operations
        self.wrong: list[str] = []
        self.start = threading.Barrier(6)

    def value(self, key: int, blocks: int) -> Any:
        x = np.full(blocks * BLOCK, key, np.uint8)
        return self.device.array(x) if self.device is not None and key % 3 else x

    def work(self, seed: int) -> None:
        draw = random.Random(seed)
        operations = (
            self.put,
            self.put,
            self.take,
            self.take,
            self.use,
            self.use,
            self.send,
            self.delete,
            self.reclaim,
        )
        self.start.wait(10)
        for _ in range(self.operations):
            if self.wrong:
                break
            try:
                draw.choice(operations)(draw.randrange(KEYS), draw)
            except KeyError:
                pass  # another thread has deleted it
            except Exception as error:
                self.wrong.append(repr(error))

    def put(self, key: int, draw: random.Random) -> None:
        self.store[key] = self.value(key, draw.randint(1, 4))

    def take(self, key: int, draw: random.Random) -> None:
        self.check(key, self.store[key])

    def use(self, key: int, draw: random.Random) -> None:
        pinned = self.store.pin([key, (key + 1) % KEYS])
        try:
            self.store.acquire(pinned)
            for entry in pinned:
                if not entry.deleted:
                    self.check(entry.key, entry.value)
                temporary = self.value(key, 2)
                self.check(key, temporary)
        finally:
            self.store.release(pinned)

    def send(self, key: int, draw: random.Random) -> None:
        for value in self.store.prepare([key], "worker").values():
            if isinstance(value, Parcel):
                self.store[key] = value
            else:
                self.check(key, value)

    def delete(self, key: int, draw: random.Random) -> None:
        del self.store[key]

    def reclaim(self, key: int, draw: random.Random) -> None:
        draw.choice([self.store.keeper.reclaim_host, lambda n: self.store.keeper.reclaim_device(n, temporary=True)])(
            BLOCK
        )

    def check(self, key: Any, value: Any) -> None:
        if not (content(value) == key).all():
            self.wrong.append(f"{key} is wrong")


def run(opened: Opened, device_nbytes: int | None, operations: int, timeout_s: float) -> None:
    device = None if device_nbytes is None else FakeDevice(device_nbytes)
    store = opened(device, 6 * BLOCK)
    crowd = Crowd(store, device, operations)
    threads = [threading.Thread(target=crowd.work, args=(seed,), daemon=True) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s)
    assert not any(thread.is_alive() for thread in threads), "threads wait for each other"
    assert crowd.wrong == []
    quiet(store)
    assert_books(store)
    for key in store:
        crowd.check(key, store[key])


@pytest.mark.parametrize("device_nbytes", [None, 5 * BLOCK], ids=["host", "device"])
def test_threads_meet_their_own_values(opened: Opened, device_nbytes: int | None) -> None:
    run(opened, device_nbytes, 500, timeout_s=60)


@pytest.mark.stress
@pytest.mark.timeout(900)
@pytest.mark.parametrize("device_nbytes", [None, 5 * BLOCK], ids=["host", "device"])
def test_threads_meet_their_own_values_for_long(opened: Opened, device_nbytes: int | None) -> None:
    run(opened, device_nbytes, 30_000, timeout_s=800)
