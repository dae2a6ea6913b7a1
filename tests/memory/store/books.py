"""A store's books, recounted: what its accounts, queues and files should be."""

from collections.abc import Iterator
from typing import Any

from memory.store.fake import FakeDevice
from overspill.memory.store import Store
from overspill.memory.store.accounts import Account, holdings


def quiet(store: Store) -> None:
    """Wait until the store has moved all that it wants to move."""
    store.keeper.settle()
    with store._tiers.changed:
        moving = [entry for entry in store._entries.values() if entry.busy]
        assert store._tiers.changed.wait_for(
            lambda: not any(store._mover.leaving.values()) and not any(entry.busy for entry in moving), timeout=10
        )


def recounted(store: Store) -> dict[str, Account]:
    """What the store's accounts should be."""
    device, host, disk = Account(), Account(), Account()
    for entry in store._entries.values():
        if entry.resident:
            held = holdings(entry.value, store._tiers.device)
            device.add(held.device)
            host.add(held.host)
        if entry.packed is not None:
            host.add(holdings(entry.packed.frames, None).host)
        if entry.file is not None:
            disk.add(((entry.file.path, entry.file.path.stat().st_size),))
    return {"device": device, "host": host, "disk": disk}


def assert_books(store: Store) -> None:
    """Accounts, queues and files are those that the entries call for; to be called while nothing moves."""
    with store._tiers.changed:
        queues = store._tiers.queues
        counted = {"device": store._tiers.on_device, "host": store._tiers.on_host, "disk": store._tiers.on_disk}
        for tier, account in recounted(store).items():
            assert (counted[tier].nbytes, counted[tier].holders) == (account.nbytes, account.holders), tier
        for key, entry in store._entries.items():
            assert entry.resident or entry.packed is not None or entry.file is not None, f"{key!r} is lost"
            assert not entry.deleted
            assert not entry.busy
            copied = entry.packed is not None or entry.file is not None
            leaves = entry.on_device and (copied or not entry.stuck)
            assert (entry in queues._device) == (leaves and not entry.small)
            assert (entry in queues._device_small) == (leaves and entry.small)
            assert (entry in queues._clean) == (entry.on_host and entry.clean)
            assert (entry in queues._dirty) == (entry.on_host and not entry.clean and not entry.stuck)
        for queue in (queues._device, queues._device_small, queues._clean, queues._dirty, queues.on_disk_alone):
            assert set(queue) <= set(store._entries.values())
        files = {entry.file.path for entry in store._entries.values() if entry.file is not None}
        assert set(files_of(store)) == files
        assert store._mover.leaving == {"device": [], "host": []}


def assert_nothing_held(store: Store) -> None:
    """An empty store counts nothing and keeps no file."""
    figures = store.figures()["tiers"]
    assert {tier: (account["nbytes"], account["allocations"]) for tier, account in figures.items()} == dict.fromkeys(
        ("device", "host", "disk"), (0, 0)
    )
    assert list(files_of(store)) == []
    assert store.spilled_total == (0, 0)
    if isinstance(store._tiers.device, FakeDevice):
        store._tiers.device.finish()
        assert store._tiers.device.used_nbytes == 0


def files_of(store: Store) -> Iterator[Any]:
    return store._disk.directory.iterdir() if store._disk.directory.exists() else iter(())
