"""What moving values must do in one certain order, which the state machine meets too seldom."""

from typing import Any

import pytest

from memory.store.books import assert_books, quiet
from memory.store.conftest import Opened
from memory.store.fake import FakeDevice
from memory.store.gate import Gate, in_thread, joined
from memory.store.kit import BLOCK, PLENTY, assert_same, block
from overspill.memory.store import disk
from overspill.memory.store.disk import Disk, File
from overspill.memory.store.packing import Packed


def test_a_value_evicted_before_its_copy_up_was_done(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["x"] = device.array(block(1))
    store.keeper.reclaim_device(BLOCK, temporary=False)
    store.acquire(store._known(["x"]))  # queued, not done
    store.keeper.reclaim_host(BLOCK)  # the clean copy is dropped
    assert store.figures()["tiers"]["host"]["nbytes"] == 0
    store.keeper.reclaim_device(BLOCK, temporary=False)
    assert_same(store["x"], block(1))


def test_a_clean_copy_is_not_written_again(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["x"] = device.array(block(1))
    for _ in range(3):
        store.keeper.reclaim_device(BLOCK, temporary=False)
        store.keeper.reclaim_host(BLOCK)
        assert_same(store["x"], block(1))
    links = store.figures()["links"]
    assert links["device_to_host"]["nbytes"] == BLOCK
    assert links["host_to_device"]["nbytes"] == 3 * BLOCK
    assert store.figures()["tiers"]["disk"]["allocations"] == 1
    assert links["host_to_disk"]["nbytes"] == store.figures()["tiers"]["disk"]["nbytes"]


def test_the_longest_unused_leaves_first(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    for number in range(4):
        store[number] = device.array(block(number))
    store[0]
    store.keeper.reclaim_device(2 * BLOCK, temporary=False)
    assert [store.resident([number]) for number in range(4)] == [True, False, False, True]


def test_a_key_used_again_while_its_old_value_is_copied(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["x"] = device.array(block(1))
    monkeypatch.setattr(device, "download", gate := Gate(device.download))
    thread = in_thread(lambda: store.keeper.reclaim_device(BLOCK, temporary=False))
    assert gate.reached.wait(10)
    store["x"] = device.array(block(2))
    gate.open.set()
    assert joined(thread)
    assert_books(store)
    assert not store.resident(["x"]), "the new value has left in its place"
    assert_same(store["x"], block(2))


def test_a_value_deleted_while_it_is_written(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    store["x"] = block(1)
    monkeypatch.setattr(disk, "_write", gate := Gate(disk._write))
    thread = in_thread(store.keeper.reclaim_host, BLOCK)
    assert gate.reached.wait(10)
    del store["x"]
    gate.open.set()
    assert joined(thread)
    assert_books(store)
    assert store.figures()["tiers"]["disk"] == {"nbytes": 0, "peak_nbytes": 0, "limit_nbytes": 0, "allocations": 0}


def test_a_value_deleted_while_it_turns_out_that_it_cannot_be_copied(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeDevice(BLOCK)
    store = opened(device)
    device.faults.errors["download"] = ValueError("no such copy")
    monkeypatch.setattr(device, "download", gate := Gate(device.download))
    store["x"] = device.array(block(1, 2))
    assert gate.reached.wait(10)  # in the keeper's thread
    del store["x"]
    gate.open.set()
    quiet(store)
    assert device.faults.met
    del device.faults.errors["download"]
    store["y"] = device.array(block(2, 2))
    assert joined(in_thread(store.keeper.settle)), "the keeper has gone"
    assert not store.resident(["y"])


def test_a_value_deleted_while_it_is_asked_for(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    store["x"] = block(1)
    store.keeper.reclaim_host(BLOCK)
    read = Disk.read

    def deleted_meanwhile(self: Disk, file: File) -> Packed:
        del store["x"]
        return read(self, file)

    monkeypatch.setattr(Disk, "read", deleted_meanwhile)
    with pytest.raises(KeyError, match="x"):
        store["x"]


def test_tasks_that_share_an_input_do_not_wait_for_each_other(opened: Opened) -> None:
    device = FakeDevice(BLOCK, capacity_nbytes=8 * BLOCK)
    store = opened(device)
    store["x"] = device.array(block(1, 2))
    quiet(store)
    taken = device.array(block(2))  # a task's: the device is full, with nothing to evict
    pins = [store.pin(["x"]), store.pin(["x"])]
    threads = [in_thread(store.acquire, pinned) for pinned in pins]
    assert all(joined(thread) for thread in threads)
    assert store.resident(["x"])
    for pinned in pins:
        store.release(pinned)
    del taken


def test_room_is_made_before_a_value_comes_up(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(4 * BLOCK)
    store = opened(device)
    for name in "abcd":
        store[name] = device.array(block(ord(name)))
        store.keeper.reclaim_device(BLOCK, temporary=False)
    held: list[int] = []
    upload = device.upload

    def watched(frame: Any) -> Any:
        held.append(device.used_nbytes)
        return upload(frame)

    monkeypatch.setattr(device, "upload", watched)
    for name in "abcd":
        assert (store[name].get() == ord(name)).all()
    assert held == [0, BLOCK, 2 * BLOCK, 2 * BLOCK]


def test_small_values_come_up_at_once_and_large_ones_do_not(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["on disk"] = device.array([5])
    store.keeper.reclaim_device(PLENTY, temporary=False)
    store.keeper.reclaim_host(PLENTY)
    store["small"], store["large"] = device.array([3]), device.array(block(1))
    store.keeper.reclaim_device(PLENTY, temporary=False)
    came = {entry.key: store.acquire_at_once([entry]) for entry in store._known(store)}
    assert came == {"on disk": False, "small": True, "large": False}
    assert [store.resident([key]) for key in came] == list(came.values())


def test_a_small_value_that_finds_no_memory_at_once_waits_its_turn(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["x"] = device.array([3])
    store.keeper.reclaim_device(PLENTY, temporary=False)
    device.faults.errors["upload"] = MemoryError("none left")
    pinned = store.pin(["x"])
    assert not store.acquire_at_once(pinned)
    device.faults.errors.clear()
    store.acquire(pinned)
    assert (pinned[0].value.get() == 3).all()
    store.release(pinned)


def test_a_value_that_is_moving_does_not_come_up_at_once(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["x"] = device.array([3])
    store.keeper.reclaim_device(PLENTY, temporary=False)
    (entry,) = store._known(["x"])
    entry.busy = True
    assert not store.acquire_at_once([entry])
    entry.busy = False
    assert store.acquire_at_once([entry])
