"""The spill store: a worker's mapping of results, on the device, in page-locked tiles or on disk.

Each tier has a byte limit, and the value unused for longest leaves it first; a value with a clean copy further down is
dropped, not written again. The event loop only ever puts values in and takes out those that are where tasks want them:
a thread of the store keeps the tiers below their limits, tasks that lack memory make room themselves (`reclaim_device`,
`reclaim_host`), and `acquire` brings a task's inputs up before it begins.

A value is never given up before its copy is whole, and what cannot be moved stays where it is.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sized
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

from distributed.sizeof import safe_sizeof
from distributed.spill import SpilledSize

from overspill.memory import tile
from overspill.memory.pool import Pool
from overspill.memory.store import process
from overspill.memory.store.accounts import Account, holdings
from overspill.memory.store.device import Device
from overspill.memory.store.disk import Disk, File
from overspill.memory.store.entry import Entry, Key, Queues
from overspill.memory.store.meter import Cause, Meter
from overspill.memory.store.packing import Packed, pack, unpack
from overspill.memory.store.parcel import Parcel, Recipient, outgoing
from overspill.memory.store.turns import Turns

WORTH_AN_EVENT_NBYTES = 2**20
"""Of smaller values it is not noted when they have been computed: their copies wait for all that is queued by then."""

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

LEAST_HEADROOM, MOST_HEADROOM = 1 / 8, 1 / 2
"""Shares of the device's limit that are kept free of results, for what tasks make on their way: the more they ask for
while there is no room, the more is kept free, since making room at the last moment keeps them waiting."""


class Store(MutableMapping[Key, Any]):
    """The results of one worker.

    Parameters
    ----------
    worker_local_directory
        Where the disk tier makes its directory; Dask fills this in.
    """

    def __init__(self, worker_local_directory: str | os.PathLike[str]) -> None:
        self.meter = Meter()
        self._disk = Disk(worker_local_directory, self.meter)
        self._device: Device | None = None
        self._entries: dict[Key, Entry] = {}
        self._queues = Queues()
        self._on_device, self._on_host, self._on_disk = Account(), Account(), Account()
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        # The keeper has a condition of its own, lest every task that ends wake it up for nothing.
        self._pressure = threading.Condition(lock)
        self.turns = Turns(self._changed)
        self._headroom_nbytes = 0
        self._leaving: dict[str, list[int]] = {"device": [], "host": []}
        self._pool: Pool | None = None
        self._keeper: threading.Thread | None = None
        self._at_rest = False
        self._closing = False

    # Life.

    def open(self, device: Device | None) -> None:
        """Keep to limits from now on, the pool's and, where there is one, `device`'s; called on the event loop."""
        self._device, self._pool = device, tile.pool()
        if device is not None:
            device.install(self.reclaim_device, self.meter)
        self._pool.reclaim = self.reclaim_host
        self.turns.belongs_to_loop()
        process.opened(self)
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep_limits, name="overspill-store", daemon=True)
            self._keeper.start()
        with self._changed:
            self._tell()

    def close(self) -> None:
        """Let go of everything, files included."""
        process.closed(self)
        with self._changed:
            self._closing = True
            self._pressure.notify()
            self.turns.close()
        if self._keeper is not None:
            self._keeper.join()
        if self._device is not None:
            self._device.uninstall()
        if self._pool is not None and self._pool.reclaim == self.reclaim_host:
            self._pool.reclaim = None
        self.clear()
        self._disk.clear()

    # The mapping.

    def __setitem__(self, key: Key, value: Any) -> None:
        if isinstance(value, Parcel):
            entry = Entry(key, packed=value.packed, of_device=value.packed.from_device)
            entry.packed_extents = holdings(value.packed.frames, None).host
        else:
            entry = Entry(key)
            self._settle(entry, value)
            if sum(nbytes for _, nbytes in entry.device_extents) >= WORTH_AN_EVENT_NBYTES and self._device is not None:
                entry.after = self._device.mark()
        with self._changed:
            if key in self._entries:
                del self[key]
            self._entries[key] = entry
            self._on_device.add(entry.device_extents)
            self._on_host.add(entry.host_extents + entry.packed_extents)
            self._queues.place(entry)
            self._shed()

    def __getitem__(self, key: Key) -> Any:
        if (prepared := outgoing.get()) and key in prepared:
            return prepared[key]
        return self._load(self._entries[key])

    def __delitem__(self, key: Key) -> None:
        with self._changed:
            entry = self._entries.pop(key)
            entry.deleted = True
            self._on_device.remove(entry.device_extents)
            self._on_host.remove(entry.host_extents + entry.packed_extents)
            self._queues.place(entry)
            self._forget_file(entry)
            self._tell()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def clear(self) -> None:
        """Forget all values."""
        for key in list(self._entries):
            del self[key]

    # What a worker asks besides.

    def pin(self, keys: Iterable[Key]) -> list[Entry]:
        """Keep those of `keys` that are here from being moved, for a task that begins; to be undone by `release`."""
        with self._changed:
            self.turns.begin()
            entries = self._known(keys)
            for entry in entries:
                entry.pins += 1
                self._queues.touch(entry)
            return entries

    def acquire(self, entries: Iterable[Entry]) -> None:
        """Bring pinned values up for their task; blocks, so not for the event loop."""
        for entry in entries:
            self._load(entry, for_task=True)

    def release(self, entries: Iterable[Entry]) -> None:
        """Undo `pin` when the task has ended."""
        with self._changed:
            for entry in entries:
                entry.pins -= 1
            self.turns.end()
            self._tell()

    def crowded(self) -> bool:
        """Whether a tier is past its limit, and values are on their way down."""
        with self._changed:
            return bool(self._excess()) and not self._at_rest and self._keeper is not None

    def settle(self) -> None:
        """Wait until no tier is past its limit, or nothing more can be moved."""
        with self._changed:
            self._tell()  # the keeper cannot know that a limit has been lowered
            self._changed.wait_for(lambda: self._closing or not self.crowded())

    def prepare(self, keys: Iterable[Key], recipient: Recipient) -> dict[Key, Any]:
        """What to send for those of `keys` that are here, none of it on the device; blocks until it is there."""
        values: dict[Key, Any] = {}
        for entry in self._known(keys):
            with suppress(KeyError):  # deleted meanwhile: to the peer it is missing
                values[entry.key] = Parcel(self._packed(entry), recipient) if entry.of_device else self._load(entry)
        return values

    def prepared(self, keys: Iterable[Key], recipient: Recipient) -> dict[Key, Any] | None:
        """The same if nothing has to be copied or read for it, else None; never blocks."""
        with self._changed:
            entries = self._known(keys)
            if all((entry.packed is not None) if entry.of_device else entry.resident for entry in entries):
                return self.prepare(keys, recipient)
            return None

    def resident(self, keys: Iterable[Key]) -> bool:
        """Whether all of `keys` that are here lie where tasks take them from."""
        with self._changed:
            return all(entry.resident for entry in self._known(keys))

    def figures(self) -> dict[str, Any]:
        """Bytes and values by tier, bytes and seconds by link, evictions by cause."""
        with self._changed:
            accounts = {"device": self._on_device, "host": self._on_host, "disk": self._on_disk}
            limits = {"device": self._device_limit(), "host": self._host_limit(), "disk": 0}
            tiers = {
                tier: {
                    "nbytes": account.nbytes,
                    "peak_nbytes": account.peak_nbytes,
                    "limit_nbytes": limits[tier],
                    "allocations": account.holders,
                }
                for tier, account in accounts.items()
            }
        return {
            "tiers": tiers,
            "allocated_nbytes": self._device.allocated_nbytes() if self._device else 0,
            "links": self.meter.links(),
            "evictions": self.meter.evictions(),
        }

    @property
    def spilled_total(self) -> SpilledSize:
        """Bytes of the values that are on disk alone, and of their files: what Dask shows as spilled."""
        with self._changed:
            alone = self._queues.on_disk_alone
            return SpilledSize(
                sum(entry.sizeof for entry in alone),
                sum(entry.file.nbytes for entry in alone if entry.file),
            )

    @property
    def slow(self) -> Sized:
        """The values that are on disk alone; Dask's metrics ask how many."""
        return self._queues.on_disk_alone

    # Making room.

    def reclaim_device(self, nbytes: int, *, temporary: bool) -> bool:
        """Take values off the device until `nbytes` bytes are free; False if nothing could be done.

        Raises
        ------
        MemoryBudgetError
            If what lies further down is full.
        """
        if temporary:
            with self._changed:
                self._headroom_nbytes += nbytes
                self._tell()
        return self._reclaim("device", nbytes, self._evict_from_device, "device_allocation") or self.turns.wait()

    def reclaim_host(self, nbytes: int) -> bool:
        """Free `nbytes` bytes of host memory; False if nothing could be done.

        Raises
        ------
        MemoryBudgetError
            If the disk is full.
        """
        return self._reclaim("host", nbytes, self._evict_from_host, "host_allocation")

    def _reclaim(self, tier: str, nbytes: int, evict: Callable[[Cause], int | None], cause: Cause) -> bool:
        if threading.get_ident() in self._leaving[tier]:
            return False  # this thread asks for room only so that a value can leave
        freed, moved = 0, False
        try:
            while freed < nbytes and (more := evict(cause)) is not None:
                freed, moved = freed + more, True
        except (OSError, MemoryError):
            if not freed:
                raise
        if moved:
            return True
        with self._changed:
            if not self._leaving[tier]:
                return False
            self._changed.wait()
            return True

    def _keep_limits(self) -> None:
        complained = False
        while True:
            with self._changed:
                self._pressure.wait_for(lambda: self._closing or self._excess())
                if self._closing:
                    return
                excess = self._excess()
            moved, failure = False, None
            for cause in excess:
                evict = self._evict_from_device if cause == "device_limit" else self._evict_from_host
                try:
                    moved = evict(cause) is not None or moved
                except (OSError, MemoryError) as error:
                    failure = str(error)  # the error itself would hold the value
            if failure is not None and not complained:
                logger.warning("Results stay above their limit, as nothing more can be spilled: %s", failure)
            complained = failure is not None
            if not moved:
                self._rest(failed=complained)

    def _rest(self, *, failed: bool) -> None:
        """Wait until something changes, unless that has happened since nothing was found to move."""
        with self._changed:
            if self._closing or (self._movable() and not failed):
                return
            self._at_rest = True
            self._changed.notify_all()
            self._pressure.wait()
            self._at_rest = False

    def _movable(self) -> bool:
        """Whether something could leave a tier that is past its limit."""
        queues = {"device_limit": self._queues.next_from_device, "host_limit": self._queues.next_from_host}
        return any(queues[cause]() for cause in self._excess())

    def _shed(self) -> None:
        """Drop values that have copies further down while the device is past its limit; wake the keeper for others."""
        while "device_limit" in self._excess():
            entry = self._queues.next_from_device()
            if entry is None or not self._has_copy(entry):
                break
            self._drop_value(entry, "device_limit")
        if self._excess():
            self._tell()

    def _tell(self) -> None:
        """Tell all who wait that something has changed, and the keeper if there may be something to move."""
        self._changed.notify_all()
        if self._at_rest or self._excess():
            self._at_rest = False
            self._pressure.notify()

    def _excess(self) -> tuple[Cause, ...]:
        """The limits that are passed."""
        passed: list[Cause] = []
        if (limit := self._device_limit()) and self._on_device.nbytes > limit - self._headroom(limit):
            passed.append("device_limit")
        if self._on_host.nbytes > self._host_limit():
            passed.append("host_limit")
        return tuple(passed)

    def _headroom(self, limit: int) -> int:
        return int(min(max(self._headroom_nbytes, LEAST_HEADROOM * limit), MOST_HEADROOM * limit))

    def _device_limit(self) -> int:
        return self._device.limit_nbytes if self._device is not None else 0

    def _host_limit(self) -> int:
        return tile.pool().limit_nbytes if self._pool is None else self._pool.limit_nbytes

    def _evict_from_device(self, cause: Cause) -> int | None:
        """Take the value unused for longest off the device; the bytes freed, None if there was nothing to move."""
        with self._changed:
            entry = self._queues.next_from_device()
            if entry is None:
                return None
            if self._has_copy(entry):
                return self._drop_value(entry, cause)
            entry.busy = True

        def keep(packed: Packed) -> int:
            self._keep_packed(entry, packed)
            return 0 if entry.pins or entry.deleted else self._drop_value(entry, cause)

        return self._move(entry, self._copy_down, keep, leaving="device") or 0

    def _evict_from_host(self, cause: Cause) -> int | None:
        """Free the host memory of one value; the bytes freed, None if there was nothing to move."""
        with self._changed:
            entry = self._queues.next_from_host()
            if entry is None:
                return None
            if entry.clean:
                return self._drop_host(entry, cause)
            entry.busy = True

        def keep(file: File) -> int:
            if entry.deleted:
                self._disk.remove(file)
                return 0
            entry.file = file
            self._on_disk.add(((file.path, file.nbytes),))
            return 0 if entry.pins and not entry.on_device else self._drop_host(entry, cause)

        return self._move(entry, self._copy_to_disk, keep, leaving="host") or 0

    def _move(
        self, entry: Entry, copy: Callable[[Entry], T], keep: Callable[[T], R], *, leaving: str | None = None
    ) -> R | None:
        """Copy a busy entry outside the lock, and `keep` the copy inside; None if it never can be copied."""
        result, kept = None, None
        if leaving:
            with self._changed:
                self._leaving[leaving].append(threading.get_ident())
        try:
            result = copy(entry)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            if entry.deleted:
                raise
            entry.stuck = True
            logger.warning("The result %r cannot be spilled and stays where it is: %s", entry.key, str(error))
        finally:
            with self._changed:
                if leaving:
                    self._leaving[leaving].remove(threading.get_ident())
                entry.busy = False
                if result is not None:
                    kept = keep(result)
                self._queues.place(entry)
                self._tell()
        return kept

    @staticmethod
    def _has_copy(entry: Entry) -> bool:
        return entry.packed is not None or entry.file is not None

    def _copy_down(self, entry: Entry) -> Packed:
        return pack(entry.value, self._device, entry.after)

    def _copy_to_disk(self, entry: Entry) -> File:
        entry.sizeof = safe_sizeof(Parcel(entry.packed, "worker") if entry.packed else entry.value)
        return self._disk.write(entry.packed or pack(entry.value, self._device))

    def _drop_value(self, entry: Entry, cause: Cause) -> int:
        """Give up a value that has a copy further down; the bytes freed on the device."""
        entry.value, entry.resident, entry.after = None, False, None
        freed = self._on_device.remove(entry.device_extents)
        self._on_host.remove(entry.host_extents)
        entry.device_extents = entry.host_extents = ()
        self._queues.place(entry)
        self._changed.notify_all()
        self.meter.evicted(cause)
        return freed

    def _drop_host(self, entry: Entry, cause: Cause) -> int:
        """Give up what an entry with a copy elsewhere has in host memory; the bytes freed there."""
        freed = self._on_host.remove(entry.packed_extents)
        entry.packed, entry.packed_extents = None, ()
        if not entry.of_device:
            freed += self._on_host.remove(entry.host_extents)
            entry.value, entry.resident, entry.host_extents = None, False, ()
        self._queues.place(entry)
        self._changed.notify_all()
        self.meter.evicted(cause)
        return freed

    # Coming back.

    def _load(self, entry: Entry, *, for_task: bool = False) -> Any:
        """The value of `entry`, brought up if it is not there."""
        with self._changed:
            while entry.busy and not entry.resident:
                # Who moves it may be waiting for this very task to end.
                with self.turns.standing() if for_task else nullcontext():
                    self._changed.wait()
            if entry.resident:
                self._queues.touch(entry)
                return entry.value
            if entry.deleted:
                raise KeyError(entry.key)
            entry.busy = True
            packed = entry.packed
        value = settled = None
        try:
            packed = packed or self._read(entry)
            value = unpack(packed, self._device)
            settled = Entry(entry.key)
            self._settle(settled, value)
        finally:
            with self._changed:
                entry.busy = False
                if settled is not None and packed is not None and not entry.deleted:
                    self._bring_back(entry, settled, packed)
                self._tell()
        return value

    def _bring_back(self, entry: Entry, settled: Entry, packed: Packed) -> None:
        """Give `entry` its value again, as it is in `settled`, beside the copy it came from."""
        entry.value, entry.resident = settled.value, True
        entry.of_device = settled.of_device
        entry.device_extents, entry.host_extents = settled.device_extents, settled.host_extents
        self._on_device.add(entry.device_extents)
        self._on_host.add(entry.host_extents)
        if entry.of_device:
            self._keep_packed(entry, packed)
        self._queues.place(entry)
        self._queues.touch(entry)
        self._shed()

    def _packed(self, entry: Entry) -> Packed:
        """A copy of `entry` in host memory, kept for the next time."""
        with self._changed:
            while entry.packed is None and entry.busy:
                self._changed.wait()
            if entry.packed is not None:
                self._queues.touch(entry)
                return entry.packed
            if entry.deleted:
                raise KeyError(entry.key)
            entry.busy = True

        def keep(packed: Packed) -> Packed:
            self._keep_packed(entry, packed)
            return packed

        packed = self._move(entry, self._copy_down if entry.resident else self._read, keep)
        if packed is None:
            raise TypeError(f"the result {entry.key!r} cannot be sent to another process: see the worker's log")
        return packed

    def _read(self, entry: Entry) -> Packed:
        assert entry.file is not None
        try:
            return self._disk.read(entry.file)
        except FileNotFoundError:
            if entry.deleted:
                raise KeyError(entry.key) from None
            raise

    def _keep_packed(self, entry: Entry, packed: Packed) -> None:
        if entry.packed is None and not entry.deleted:
            entry.packed = packed
            entry.packed_extents = holdings(packed.frames, None).host
            self._on_host.add(entry.packed_extents)
            self._queues.place(entry)

    def _settle(self, entry: Entry, value: Any) -> None:
        """Make `value` that of `entry`, not yet counted."""
        held = holdings(value, self._device)
        entry.value, entry.resident = value, True
        entry.of_device = bool(held.device)
        entry.device_extents, entry.host_extents = held.device, held.host

    def _forget_file(self, entry: Entry) -> None:
        if entry.file is not None:
            self._on_disk.remove(((entry.file.path, entry.file.nbytes),))
            self._disk.remove(entry.file)

    def _known(self, keys: Iterable[Key]) -> list[Entry]:
        with self._changed:
            return [self._entries[key] for key in keys if key in self._entries]
