"""The books of the store: what lies on each tier, what each may hold, and whom to tell when that changes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from overspill.memory import tile
from overspill.memory.pool import Pool
from overspill.memory.store.accounts import Account
from overspill.memory.store.device import Device
from overspill.memory.store.disk import File
from overspill.memory.store.entry import Entry, Queues
from overspill.memory.store.meter import Cause, Meter
from overspill.memory.store.packing import Packed

LEAST_HEADROOM, MOST_HEADROOM = 1 / 8, 1 / 2
"""Shares of the device's limit that are kept free of results, for what tasks make on their way: the more they ask for
while there is no room, the more is kept free, since making room at the last moment keeps them waiting."""


class Tiers:
    """The device, host memory and disk as one store uses them. All methods but one are called with `changed` held.

    Attributes
    ----------
    changed
        Notified whenever something was moved, freed or finished; its lock guards everything here, entries included.
    pressure
        The same lock's, for the keeper alone, lest every task that ends wake it up for nothing.
    at_rest
        Whether the keeper has found nothing to move, and waits for a change.
    device
        The device; None where there is none, and before the store is open.
    pool
        The pool of tiles whose limit is that of host memory; None before the store is open.
    queues
        The entries in the order in which they leave their tiers.
    on_device, on_host, on_disk
        The allocations that each tier holds for them.
    """

    def __init__(self, meter: Meter) -> None:
        lock = threading.RLock()
        self.changed = threading.Condition(lock)
        self.pressure = threading.Condition(lock)
        self.at_rest = False
        self.device: Device | None = None
        self.pool: Pool | None = None
        self.queues = Queues()
        self.on_device, self.on_host, self.on_disk = Account(), Account(), Account()
        self._meter = meter
        self._headroom_nbytes = 0
        self._expected_nbytes = 0

    # What lies where.

    def enter(self, entry: Entry) -> None:
        """Take in a new entry."""
        self.on_device.add(entry.device_extents)
        self.on_host.add(entry.host_extents + entry.packed_extents)
        self.queues.place(entry)
        self.shed()

    def leave(self, entry: Entry) -> None:
        """Let go of an entry that the store forgets."""
        entry.deleted = True
        self.on_device.remove(entry.device_extents)
        self.on_host.remove(entry.host_extents + entry.packed_extents)
        if entry.file is not None:
            self.on_disk.remove(entry.file.extents)
        self.queues.place(entry)
        self.tell()

    def keep_packed(self, entry: Entry, packed: Packed) -> None:
        """Keep `packed` as the copy of `entry` in host memory, unless it has one, or is not wanted any more."""
        if entry.packed is None and not entry.deleted:
            entry.packed = packed
            entry.packed_extents = packed.extents
            self.on_host.add(entry.packed_extents)
            self.queues.place(entry)

    def keep_file(self, entry: Entry, file: File) -> None:
        """Keep `file` as the copy of `entry` on disk."""
        entry.file = file
        self.on_disk.add(file.extents)
        self.queues.place(entry)

    @contextmanager
    def expecting(self, nbytes: int) -> Iterator[None]:
        """Make room for `nbytes` bytes that come up to the device inside the block; called without the lock.

        The memory of what is dropped now is there for them at once.
        """
        with self.changed:
            self._expected_nbytes += nbytes
            self.shed()
        try:
            yield
        finally:
            with self.changed:
                self._expected_nbytes -= nbytes

    def bring_back(self, entry: Entry, loaded: Entry, packed: Packed) -> None:
        """Give `entry` its value again, as it is in `loaded`, beside the copy it came from."""
        entry.value, entry.resident = loaded.value, True
        entry.of_device = loaded.of_device
        entry.device_extents, entry.host_extents = loaded.device_extents, loaded.host_extents
        self.on_device.add(entry.device_extents)
        self.on_host.add(entry.host_extents)
        if entry.of_device:
            self.keep_packed(entry, packed)
        self.queues.place(entry)
        self.queues.touch(entry)
        self.shed()

    def drop_value(self, entry: Entry, cause: Cause) -> int:
        """Give up a value that has a copy further down; the bytes freed on the device."""
        entry.value, entry.resident, entry.after = None, False, None
        freed = self.on_device.remove(entry.device_extents)
        self.on_host.remove(entry.host_extents)
        entry.device_extents = entry.host_extents = ()
        self._dropped(entry, cause)
        return freed

    def drop_host(self, entry: Entry, cause: Cause) -> int:
        """Give up what an entry with a copy elsewhere has in host memory; the bytes freed there."""
        freed = self.on_host.remove(entry.packed_extents)
        entry.packed, entry.packed_extents = None, ()
        if not entry.of_device:
            freed += self.on_host.remove(entry.host_extents)
            entry.value, entry.resident, entry.host_extents = None, False, ()
        self._dropped(entry, cause)
        return freed

    def _dropped(self, entry: Entry, cause: Cause) -> None:
        self.queues.place(entry)
        self.changed.notify_all()
        self._meter.evicted(cause)

    def shed(self) -> None:
        """Drop values that have copies further down while the device is past its limit; wake the keeper for others."""
        while "device_limit" in (passed := self.excess()):
            entry = self.queues.next_from_device()
            if entry is None or not entry.copied:
                break
            self.drop_value(entry, "device_limit")
        if passed:
            self.tell()

    # What each tier may hold.

    def device_limit_nbytes(self) -> int:
        """Bytes that everything on the device may take; 0 where there is none."""
        return self.device.limit_nbytes if self.device is not None else 0

    def host_limit_nbytes(self) -> int:
        """Bytes that results may take in host memory."""
        return tile.pool().limit_nbytes if self.pool is None else self.pool.limit_nbytes

    def widen_headroom(self, nbytes: int) -> None:
        """Keep more of the device free: a task has asked for `nbytes` where there were none."""
        self._headroom_nbytes += nbytes
        self.tell()

    def excess(self) -> tuple[Cause, ...]:
        """The limits that are passed."""
        passed: list[Cause] = []
        on_device = self.on_device.nbytes + self._expected_nbytes
        if (limit := self.device_limit_nbytes()) and on_device > limit - self._headroom(limit):
            passed.append("device_limit")
        if self.on_host.nbytes > self.host_limit_nbytes():
            passed.append("host_limit")
        return tuple(passed)

    def movable(self) -> bool:
        """Whether something could leave a tier that is past its limit."""
        following = {"device_limit": self.queues.next_from_device, "host_limit": self.queues.next_from_host}
        return any(following[cause]() for cause in self.excess())

    def _headroom(self, limit: int) -> int:
        return int(min(max(self._headroom_nbytes, LEAST_HEADROOM * limit), MOST_HEADROOM * limit))

    # Who is told.

    def tell(self) -> None:
        """Tell all who wait that something has changed, and the keeper if there may be something to move."""
        self.changed.notify_all()
        if self.at_rest or self.excess():
            self.at_rest = False
            self.pressure.notify()

    def figures(self) -> dict[str, dict[str, Any]]:
        """Bytes, limits and allocations by tier."""
        accounts = {"device": self.on_device, "host": self.on_host, "disk": self.on_disk}
        limits = {"device": self.device_limit_nbytes(), "host": self.host_limit_nbytes(), "disk": 0}
        return {
            tier: {
                "nbytes": account.nbytes,
                "peak_nbytes": account.peak_nbytes,
                "limit_nbytes": limits[tier],
                "allocations": account.holders,
            }
            for tier, account in accounts.items()
        }
