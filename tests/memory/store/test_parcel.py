from typing import Any

import numpy as np
import pytest
from distributed.protocol.serialize import deserialize, serialize

from memory.store.conftest import Opened
from memory.store.fake import FakeDevice
from memory.store.kit import Pair, assert_same, ramp
from overspill.memory.store import process
from overspill.memory.store.packing import pack
from overspill.memory.store.parcel import Parcel, outgoing


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """The device of this process."""
    device = FakeDevice(2**30)
    monkeypatch.setattr(process, "_device", device)
    return device


def value(device: FakeDevice) -> Any:
    return Pair(device.array(ramp()), {"host": ramp("i8"), "none": [None, device.array(np.arange(3))]})


EXPECTED = Pair(ramp(), {"host": ramp("i8"), "none": [None, np.arange(3)]})


def sent(parcel: Parcel) -> Any:
    return deserialize(*serialize(parcel))


def test_a_client_unpacks_it(device: FakeDevice) -> None:
    assert_same(sent(Parcel(pack(value(device), device), "client")), EXPECTED)


def test_a_client_beside_a_worker_unpacks_it_too(device: FakeDevice, opened: Opened) -> None:
    opened(device)
    assert_same(sent(Parcel(pack(value(device), device), "client")), EXPECTED)


def test_a_process_without_a_store_unpacks_it(device: FakeDevice) -> None:
    assert_same(sent(Parcel(pack(value(device), device), "worker")), EXPECTED)


def test_a_worker_keeps_it_packed_until_it_is_asked_for(device: FakeDevice, opened: Opened) -> None:
    store = opened(device)
    parcel = sent(Parcel(pack(value(device), device), "worker"))
    assert isinstance(parcel, Parcel)
    store["x"] = parcel
    tiers = store.figures()["tiers"]
    assert tiers["device"]["nbytes"] == 0
    assert tiers["host"]["nbytes"] >= 2 * ramp().nbytes
    assert_same(store["x"], EXPECTED)
    assert store.figures()["tiers"]["device"]["nbytes"] == ramp().nbytes + 24


def test_what_is_outgoing_is_taken_in_the_values_place(device: FakeDevice, opened: Opened) -> None:
    store = opened(device)
    store["x"], store["y"] = device.array(ramp()), 5
    assert store.prepared(["x", "y"], "worker") is None
    prepared = store.prepare(["x", "y", "absent"], "worker")
    assert set(store.prepared(["x", "y"], "worker") or ()) == {"x", "y"}
    assert isinstance(prepared["x"], Parcel)
    token = outgoing.set(prepared)
    assert (store["x"], store["y"]) == (prepared["x"], 5)
    outgoing.reset(token)
    assert_same(store["x"], ramp())
