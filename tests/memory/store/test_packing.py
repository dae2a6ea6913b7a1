import pickle
from typing import Any

import numpy as np
import pytest

from memory.store.fake import FakeDevice
from memory.store.kit import HOST_VALUES, ROWS, VALUES, assert_same, ramp
from overspill.memory import is_tile
from overspill.memory.store.packing import SMALLEST_NBYTES, pack, unpack


def through_pickle(packed: Any) -> Any:
    """As it comes back from a file: no array is the one that went in."""
    return pickle.loads(pickle.dumps(packed))


def host(x: Any) -> Any:
    return np.array(x, order="K")


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(name: str) -> None:
    device = FakeDevice(2**30)
    for make in (device.array, host):
        assert_same(unpack(through_pickle(pack(VALUES[name](make), device)), device), VALUES[name](host))


@pytest.mark.parametrize("name", HOST_VALUES)
def test_host_values_come_back(name: str) -> None:
    assert_same(unpack(through_pickle(pack(HOST_VALUES[name](), None)), None), HOST_VALUES[name]())


def test_views_share_an_allocation_again() -> None:
    device = FakeDevice(2**30)
    x = device.array(np.arange(SMALLEST_NBYTES, dtype=np.uint8))
    packed = pack([x[100:200], x[150:], x[::-1]], device)
    assert [frame.nbytes for frame in packed.frames] == [SMALLEST_NBYTES]
    values = unpack(packed, device)
    assert len({value.allocation for value in values}) == 1
    device.finish()


def test_of_an_allocation_only_what_is_reached_is_copied() -> None:
    device = FakeDevice(2**30)
    x = device.array(np.arange(2 * SMALLEST_NBYTES, dtype=np.uint8))
    packed = pack(x[10 : 10 + SMALLEST_NBYTES], device)
    assert packed.nbytes == SMALLEST_NBYTES


def test_the_bytes_of_the_device_come_in_tiles() -> None:
    device = FakeDevice(2**30)
    (frame,) = pack(device.array(ramp()), device).frames
    assert is_tile(frame)


def test_host_arrays_are_not_copied() -> None:
    x = ramp(rows=2 * ROWS)
    for view in (x, x.T, x[3:], [x]):
        (frame,) = pack(view, None).frames
        assert np.shares_memory(frame, x)


def test_broadcast_arrays_are_packed_as_what_they_repeat() -> None:
    x = np.broadcast_to(np.arange(3.0)[:, None], (5, 3, 100_000))
    packed = pack(x, None)
    assert packed.nbytes == 24
    assert_same(unpack(through_pickle(packed), None), x)


def test_small_arrays_and_objects_are_pickled() -> None:
    assert pack([np.arange(5), np.array([None] * SMALLEST_NBYTES)], None).frames == ()


def test_without_a_device_the_error_says_so() -> None:
    device = FakeDevice(2**30)
    packed = pack({"a": device.array(ramp())}, device)
    with pytest.raises(RuntimeError, match="osp.to_host"):
        unpack(packed, None)
