"""What the store must do in one certain order, which the state machine meets too seldom."""

import errno
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from memory.store.conftest import Opened
from memory.store.fake import FakeDevice
from memory.store.kit import assert_books, assert_same, quiet
from overspill.errors import MemoryBudgetError
from overspill.memory import tile
from overspill.memory.store import Store, disk
from overspill.memory.store.disk import Disk, File
from overspill.memory.store.packing import SMALLEST_NBYTES, Packed

BLOCK = SMALLEST_NBYTES
PLENTY = 2**40


class Opaque:
    def __init__(self, x: Any) -> None:
        self.x = x


def block(fill: int, blocks: int = 1) -> Any:
    return np.full(blocks * BLOCK, fill, np.uint8)


class Gate:
    """Stands before a function: those who call it wait until the gate opens."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.reached.set()
        assert self.open.wait(10)
        return self._function(*arguments)


def in_thread(function: Callable[..., Any], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def joined(thread: threading.Thread) -> bool:
    thread.join(10)
    return not thread.is_alive()


def pin_all(store: Store) -> Any:
    return store.pin(list(store))


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


def test_peers_find_what_was_deleted_meanwhile_missing(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    store["x"], store["y"] = block(1), 3
    store.keeper.reclaim_host(BLOCK)
    known = Store._known

    def deleted_meanwhile(self: Store, keys: Any) -> Any:
        entries = known(self, keys)
        del self["x"]
        return entries

    monkeypatch.setattr(Store, "_known", deleted_meanwhile)
    assert list(store.prepare(["x", "y"], "worker")) == ["y"]


def test_the_host_keeps_its_limit_while_the_device_cannot(opened: Opened) -> None:
    device = FakeDevice(BLOCK)
    store = opened(device, 4 * BLOCK)
    store["used"] = device.array(block(1, 4))
    pinned = pin_all(store)
    for number in range(8):
        store[number] = block(number)
    quiet(store)
    tiers = store.figures()["tiers"]
    assert tiers["device"]["nbytes"] == 4 * BLOCK
    assert tiers["host"]["nbytes"] <= 4 * BLOCK
    store.release(pinned)
    quiet(store)
    assert store.figures()["tiers"]["device"]["nbytes"] == 0


def test_a_lowered_limit_holds_without_any_other_change(opened: Opened) -> None:
    store = opened()
    for number in range(8):
        store[number] = block(number)
    quiet(store)
    tile.configure(pool_nbytes=2 * BLOCK)
    assert joined(in_thread(store.keeper.settle))
    assert store.figures()["tiers"]["host"]["nbytes"] <= 2 * BLOCK


def test_what_becomes_movable_as_the_keeper_goes_to_rest_is_moved(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(None, 2 * BLOCK)
    evict, pins = store._mover.evict, [store.pin([])]

    def released_just_after(cause: Any) -> int | None:
        moved = evict(cause)
        if moved is None and pins:
            store.release(pins.pop())
        return moved

    monkeypatch.setattr(store._mover, "evict", released_just_after)
    with store._tiers.changed:  # the keeper does not look before all are pinned
        for number in range(4):
            store[number] = block(number)
        pins.append(pin_all(store))
    with store._tiers.changed:
        assert store._tiers.changed.wait_for(lambda: store._tiers.on_host.nbytes <= 2 * BLOCK, timeout=10)
    for pinned in pins:
        store.release(pinned)


def test_a_resting_keeper_holds_on_to_nothing(opened: Opened) -> None:
    device = FakeDevice(BLOCK)
    device.faults.errors["download"] = MemoryError("none left")
    store = opened(device)
    store["x"] = device.array(block(1, 2))
    quiet(store)
    assert device.faults.met
    del device.faults.errors["download"]
    with store._tiers.changed:  # before the keeper tries again
        del store["x"]
        device.finish()
        assert device.used_nbytes == 0


def test_packing_that_needs_room_itself_does_not_wait_for_itself(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    for number in range(5):
        store[number] = Opaque([device.array(block(number)), block(number)])  # to the store a host value
    held = tile.empty((BLOCK,), np.uint8)
    tile.configure(pool_nbytes=BLOCK)
    thread = in_thread(store.keeper.settle)
    assert joined(thread)
    for number in range(5):
        assert_same(store[number].x[0], block(number))
    del held


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


def test_a_full_disk_keeps_everything_and_says_so(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(fd: int, offset: int, nbytes: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("overspill.memory.store.disk.os.posix_fallocate", full)
        store = opened(None, 2 * BLOCK)
        for number in range(5):
            store[number] = block(number)
        quiet(store)
        with pytest.raises(MemoryBudgetError, match=r"worker-0/spilled has no room for .* more \(.* free\)"):
            store.keeper.reclaim_host(BLOCK)
        for number in range(5):
            assert_same(store[number], block(number))
        quiet(store)
        assert_books(store)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Results stay above their limit" in caplog.text
    del store[0]  # something changes: the keeper tries again
    quiet(store)
    assert store.figures()["tiers"]["host"]["nbytes"] <= 2 * BLOCK


def test_what_was_moved_before_the_disk_was_full_counts(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened()
    for number in range(3):
        store[number] = block(number)
    write, writes = Disk.write, []

    def full_at_the_second(self: Disk, packed: Packed) -> File:
        writes.append(packed)
        if len(writes) > 1:
            raise OSError(errno.EIO, "broken")
        return write(self, packed)

    monkeypatch.setattr(Disk, "write", full_at_the_second)
    assert store.keeper.reclaim_host(3 * BLOCK), "asking again makes sense"
    with pytest.raises(OSError, match="broken"):
        store.keeper.reclaim_host(BLOCK)


def test_closing_waits_for_nobody(opened: Opened) -> None:
    device = FakeDevice(BLOCK, capacity_nbytes=BLOCK)
    store = opened(device)
    store.pin([])
    store.pin([])
    asked, answers = threading.Event(), []

    def ask() -> None:
        asked.set()
        answers.append(store._turns.wait())

    thread = in_thread(ask)
    assert asked.wait(10)
    store.close()
    assert joined(thread)
    assert answers == [False]
