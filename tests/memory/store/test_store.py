"""What the mapping does besides what the kit asks of every mapping."""

from collections.abc import Callable
from typing import Any

import pytest

from memory.store.conftest import Opened
from memory.store.fake import FakeDevice
from memory.store.kit import BLOCK, PLENTY, block
from overspill.memory import tile
from overspill.memory.store import Store


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


def test_only_values_of_the_device_that_are_worth_it_carry_an_event(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overspill.memory.store.store.WORTH_AN_EVENT_NBYTES", BLOCK)
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["large"], store["small"], store["host"] = device.array(block(1)), device.array([1]), block(1)
    marked = {entry.key: entry.after is not None for entry in store._known(store)}
    assert marked == {"large": True, "small": False, "host": False}


def used_by_a_task(store: Store, device: FakeDevice, meanwhile: Callable[[], object]) -> int:
    """Have a task use ``store["x"]``, which lies further down before; what is queued on the device when it ends."""
    store.keeper.reclaim_device(BLOCK, temporary=True)
    pinned = store.pin(["x"])
    store.acquire(pinned)
    meanwhile()
    done = device.mark()
    store.release(pinned)
    del pinned
    device.array([2])
    store.keeper.reclaim_device(BLOCK, temporary=True)
    return done


def test_what_tasks_have_used_is_free_once_their_kernels_are_done(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["x"] = device.array(block(1))
    done = used_by_a_task(store, device, lambda: device.array([1]))
    assert device.freed_after == [done]
    assert (store["x"].get() == 1).all()


def test_what_others_have_been_given_is_free_once_all_that_is_queued_is_done(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    store["x"] = device.array(block(1))
    used_by_a_task(store, device, lambda: store["x"])
    assert device.freed_after == []


def test_a_closed_store_asks_for_no_room_any_more(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    assert tile.pool().reclaim == store.keeper.reclaim_host
    store.close()
    assert tile.pool().reclaim is None
    assert device._reclaim is None
