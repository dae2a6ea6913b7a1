"""Every store passes the kit that a plain dictionary passes, with room for everything and with room for nothing."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from memory.store.books import assert_books, quiet
from memory.store.conftest import Opened
from memory.store.fake import FakeDevice
from memory.store.kit import HOST_VALUES, VALUES, Make, assert_same, check_mapping, check_values
from overspill.memory.store import Store, process

GENEROUS, TINY = 2**30, 1


@dataclass
class Subject:
    """A mapping, how its arrays are made, and how to wait until it has moved what it wants to move."""

    mapping: MutableMapping[Any, Any]
    make: Make
    rest: Callable[[], object]


def host_array(x: Any) -> Any:
    return np.array(x, order="K")


@pytest.fixture(params=["dict", "host", "fake", pytest.param("cupy", marks=pytest.mark.gpu)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[GENEROUS, TINY], ids=["generous", "tiny"])
def limit(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def subject(kind: str, limit: int, opened: Opened) -> Subject:
    if kind == "dict":
        return Subject({}, host_array, lambda: None)
    if kind == "host":
        store, make = opened(None, limit), host_array
    elif kind == "fake":
        device = FakeDevice(limit)
        store, make = opened(device, limit), device.array
    else:
        import cupy

        store, make = opened(process.device(limit), limit), cupy.asarray

    def rest() -> None:
        quiet(store)
        assert_books(store)

    return Subject(store, make, rest)


def test_operations(subject: Subject) -> None:
    check_mapping(subject.mapping, subject.make, subject.rest)


def test_values(subject: Subject) -> None:
    for name, value in VALUES.items():
        subject.mapping[name] = value(subject.make)
    subject.rest()
    check_values(subject.mapping, {name: value(host_array) for name, value in VALUES.items()}, subject.rest)


def test_values_of_the_host(subject: Subject) -> None:
    for name, value in HOST_VALUES.items():
        subject.mapping[name] = value()
    subject.rest()
    check_values(subject.mapping, {name: value() for name, value in HOST_VALUES.items()}, subject.rest)


@pytest.mark.parametrize("limit", [TINY], indirect=True, ids=["tiny"])
@pytest.mark.parametrize("kind", ["host", "fake", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True)
def test_without_room_everything_lies_on_disk_alone(subject: Subject, kind: str) -> None:
    store = subject.mapping
    assert isinstance(store, Store)
    for name, value in VALUES.items():
        store[name] = value(subject.make)
    subject.rest()
    weightless = {"nothing"} if kind == "host" else {"nothing", "array without elements"}
    assert {entry.key for entry in store._tiers.queues.on_disk_alone} == set(VALUES) - weightless
    assert {tier: account["nbytes"] for tier, account in store.figures()["tiers"].items() if tier != "disk"} == {
        "device": 0,
        "host": 0,
    }


@pytest.mark.parametrize("kind", ["host", "fake", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True)
def test_what_cannot_be_packed_stays_and_holds_nothing_up(subject: Subject) -> None:
    class Unpicklable:
        def __init__(self, x: Any) -> None:
            self.x = x

        def __reduce__(self) -> Any:
            raise TypeError("not this one")

    values = {number: Unpicklable(subject.make(np.full(9000, number))) for number in range(3)}
    subject.mapping.update(values)
    subject.mapping["other"] = subject.make(np.ones(9000))
    subject.rest()
    assert all(subject.mapping[number] is values[number] for number in range(3))
    assert_same(subject.mapping["other"], np.ones(9000))


@pytest.mark.parametrize("kind", ["host", "fake"], indirect=True)
def test_equal_keys_are_one_and_equal_values_are_not(subject: Subject) -> None:
    first, second = subject.make(np.ones(9000)), subject.make(np.ones(9000))
    subject.mapping[1] = first
    subject.mapping[1.0] = second
    subject.mapping[2] = first
    subject.rest()
    assert list(subject.mapping) == [1, 2]
    del subject.mapping[2]
    subject.rest()
    assert_same(subject.mapping[True], np.ones(9000))
