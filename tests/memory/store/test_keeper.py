"""Limits kept and room made in one certain order, which the state machine meets too seldom."""

import errno
from typing import Any

import numpy as np
import pytest

from memory.store.books import assert_books, quiet
from memory.store.conftest import Opened
from memory.store.fake import FakeDevice
from memory.store.gate import in_thread, joined
from memory.store.kit import BLOCK, PLENTY, Opaque, assert_same, block
from overspill.errors import MemoryBudgetError
from overspill.memory import tile
from overspill.memory.store.disk import Disk, File
from overspill.memory.store.packing import Packed


def test_the_host_keeps_its_limit_while_the_device_cannot(opened: Opened) -> None:
    device = FakeDevice(BLOCK)
    store = opened(device, 4 * BLOCK)
    store["used"] = device.array(block(1, 4))
    pinned = store.pin(list(store))
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
        pins.append(store.pin(list(store)))
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
    store = opened(FakeDevice(BLOCK, capacity_nbytes=BLOCK))
    store.pin([])
    store.pin([])
    answers: list[bool] = []
    thread = in_thread(lambda: answers.append(store._turns.wait()))
    with store._tiers.changed:
        assert store._tiers.changed.wait_for(lambda: store._turns._waiting == 1, timeout=10)
    store.close()
    assert joined(thread)
    assert answers == [False]
