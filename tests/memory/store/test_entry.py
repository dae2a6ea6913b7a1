from typing import Any

import pytest

from overspill.memory.store.entry import Entry, Queues

ANYTHING: Any = object()


def on_device(key: str, **states: Any) -> Entry:
    return Entry(key, 1, resident=True, of_device=True, device_extents=((key, 1),), **states)


def on_host(key: str, **states: Any) -> Entry:
    return Entry(key, 1, resident=True, host_extents=((key, 1),), **states)


def packed(key: str, **states: Any) -> Entry:
    return Entry(key, 1, of_device=True, packed=ANYTHING, packed_extents=((key, 1),), **states)


def placed(*entries: Entry) -> Queues:
    queues = Queues()
    for entry in entries:
        queues.place(entry)
    return queues


def test_the_longest_unused_is_next() -> None:
    first, second = on_device("a"), on_device("b")
    queues = placed(first, second)
    assert queues.next_from_device() is first
    queues.touch(first)
    assert queues.next_from_device() is second
    queues.place(second)
    assert queues.next_from_device() is second, "placing again is no use"


@pytest.mark.parametrize("state", [{"pins": 1}, {"busy": True}, {"stuck": True}, {"deleted": True}])
@pytest.mark.parametrize("make", [on_device, on_host])
def test_what_is_used_moved_stuck_or_gone_is_never_next(make: Any, state: dict[str, Any]) -> None:
    queues = placed(make("a", **state), other := make("b"))
    found = queues.next_from_device() if make is on_device else queues.next_from_host()
    assert found is other


def test_clean_copies_go_before_anything_is_written() -> None:
    dirty, clean = on_host("a"), on_device("b", packed=ANYTHING, packed_extents=(("p", 1),))
    queues = placed(dirty, clean)
    assert queues.next_from_host() is clean
    assert placed(dirty, packed("c", file=ANYTHING)).next_from_host() is not dirty


def test_a_packed_copy_of_a_value_in_use_on_the_device_may_go() -> None:
    used = on_device("a", pins=1, packed=ANYTHING, packed_extents=(("p", 1),))
    assert placed(used).next_from_host() is used
    assert placed(packed("a", pins=1)).next_from_host() is None


def test_a_value_of_the_host_beside_a_packed_copy_is_not_clean() -> None:
    """Dropping both would lose it."""
    assert not on_host("a", packed=ANYTHING, packed_extents=(("p", 1),)).clean


def test_on_disk_alone() -> None:
    alone, copied = Entry("a", 1, file=ANYTHING), on_host("b", file=ANYTHING)
    assert list(placed(alone, copied).on_disk_alone) == [alone]
    queues = placed(alone)
    alone.deleted = True
    queues.place(alone)
    assert len(queues.on_disk_alone) == 0


def test_an_entry_with_the_key_of_one_that_was_deleted_is_another() -> None:
    old, new = on_device("a"), on_device("a")
    queues = placed(old)
    old.deleted = True
    queues.place(old)
    queues.place(new)
    queues.place(old)
    assert queues.next_from_device() is new
