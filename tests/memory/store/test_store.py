"""What the mapping does besides what the kit asks of every mapping."""

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


def test_values_at_hand_are_those_that_tasks_would_take(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    on_device, on_host = device.array(block(1)), block(2)
    store["device"], store["host"] = on_device, on_host
    found = store.at_hand(["device", "host", "absent"])
    assert found is not None
    assert found["device"] is on_device
    assert found["host"] is on_host
    store.keeper.reclaim_device(BLOCK, temporary=False)
    assert store.at_hand(["device", "host"]) is None
    assert list(store.at_hand(["host"]) or ()) == ["host"]


def test_a_closed_store_asks_for_no_room_any_more(opened: Opened) -> None:
    device = FakeDevice(PLENTY)
    store = opened(device)
    assert tile.pool().reclaim == store.keeper.reclaim_host
    store.close()
    assert tile.pool().reclaim is None
    assert device._reclaim is None
