"""Tiles under Dask: between workers as handles, through a scheduler as bytes, and of the size of a handle."""

import os
from typing import Any

import numpy as np
import pytest
from dask.sizeof import sizeof
from distributed.protocol import deserialize, serialize
from numpy.typing import NDArray

from memory.conftest import shared_files
from overspill import memory
from overspill.cluster import Cluster
from overspill.memory.transfer import HANDLE_NBYTES, SCOPE

HERE = {"address": "tcp://10.0.0.1:1234"}
SAME_HOST = {"pickle-protocol": 5, "sender": HERE, "recipient": {"address": "tcp://10.0.0.1:999"}}
OTHER_HOST = {"pickle-protocol": 5, "sender": HERE, "recipient": {"address": "tcp://10.0.0.2:1234"}}
FORWARDED = SAME_HOST | {"pickle-protocol": 4}


def scoped(sender: str | None, recipient: str | None, context: dict[str, Any] = SAME_HOST) -> dict[str, Any]:
    """`context` with ends that said of themselves what they can open, or, with None, nothing."""
    said = {"sender": sender, "recipient": recipient}
    return context | {end: context[end] | {SCOPE: scope} for end, scope in said.items() if scope is not None}


def tile(n: int = 50_000) -> NDArray[np.float64]:
    x = memory.empty((n,), float)
    x[...] = np.arange(n)
    return x


def round_trip(x: Any, context: dict[str, Any] | None) -> tuple[Any, int]:
    """`x` sent and unpacked, and the number of bytes that went over."""
    header, frames = serialize(x, context=context)
    return deserialize(header, [bytes(frame) for frame in frames]), sum(memoryview(frame).nbytes for frame in frames)


def test_on_a_host_a_tile_is_a_handle() -> None:
    x = tile()
    y, sent = round_trip(x, SAME_HOST)
    np.testing.assert_array_equal(y, x)
    assert memory.is_tile(y)
    assert sent < 1000


def test_what_ends_say_of_themselves_counts_before_their_addresses() -> None:
    y, sent = round_trip(tile(), scoped("a", "a", OTHER_HOST))
    assert memory.is_tile(y)
    assert sent < 1000


@pytest.mark.parametrize(
    "context",
    [
        OTHER_HOST,
        FORWARDED,
        {},
        None,
        {"pickle-protocol": 5, "sender": {}, "recipient": {}},
        scoped("a", "b"),
        scoped("a", None),
        scoped(None, "a"),
        scoped("", ""),
        scoped("a", "a", FORWARDED),
    ],
)
def test_elsewhere_it_is_its_bytes(context: dict[str, Any] | None) -> None:
    x = tile()
    y, sent = round_trip(x, context)
    np.testing.assert_array_equal(y, x)
    assert not memory.is_tile(y)
    assert sent >= x.nbytes


@pytest.mark.parametrize(
    "x", [np.arange(50_000.0), np.array(["a", None], dtype=object), np.float64(3), np.ones((3, 0))]
)
def test_other_arrays_travel_as_ever(x: Any) -> None:
    y, _ = round_trip(x, SAME_HOST)
    np.testing.assert_array_equal(y, x)


def test_a_tile_costs_as_much_to_move_as_its_handle() -> None:
    x = tile()
    assert sizeof(x) == sizeof(x[::2]) == HANDLE_NBYTES
    assert sizeof(np.array(x)) >= x.nbytes


def make(n: int) -> NDArray[np.float64]:
    return tile(n)


def look(x: NDArray[np.float64]) -> tuple[bool, float, int]:
    return memory.is_tile(x), float(x.sum()), os.getpid()


def test_between_workers_a_tile_is_mapped(two_workers: Cluster) -> None:
    client = two_workers.client
    first, second = client.scheduler_info()["workers"]
    made = client.submit(make, 60_000, workers=[first], pure=False)
    is_tile, total, pid = client.submit(look, made, workers=[second]).result()
    assert is_tile
    assert total == sum(range(60_000))
    assert pid == client.run(os.getpid)[second] != client.run(os.getpid)[first]


@pytest.mark.parametrize("direct", [True, False])
def test_a_client_gathers_from_workers_or_through_the_scheduler(two_workers: Cluster, direct: bool) -> None:
    client = two_workers.client
    made = client.submit(make, 60_000, pure=False)
    x = client.gather(made, direct=direct)
    np.testing.assert_array_equal(x, np.arange(60_000))
    assert memory.is_tile(x) == direct


def test_what_a_client_gathered_outlives_the_future(two_workers: Cluster) -> None:
    client = two_workers.client
    made = [client.submit(make, 60_000, pure=False) for _ in range(4)]
    gathered = client.gather(made, direct=True)
    del made
    others = client.gather([client.submit(np.negative, x) for x in client.scatter(gathered)])
    for x, other in zip(gathered, others, strict=True):
        np.testing.assert_array_equal(x, np.arange(60_000))
        np.testing.assert_array_equal(other, -np.arange(60_000.0))


def test_the_scheduler_keeps_no_tiles_and_nothing_lies_in_dev_shm(two_workers: Cluster) -> None:
    before = shared_files()
    client = two_workers.client
    made = [client.submit(make, 60_000, pure=False) for _ in range(4)]
    assert [look for _, look, _ in client.gather([client.submit(look, x) for x in made])] == [sum(range(60_000))] * 4
    assert shared_files() == before
