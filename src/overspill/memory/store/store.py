"""The spill store: a worker's mapping of results, on the device, in page-locked tiles or on disk.

Each tier has a byte limit, and the value unused for longest leaves it first; a value with a clean copy further down is
dropped, not written again. The event loop only ever puts values in and takes out those that are where tasks want them,
or so small that they come up at once: the keeper's thread keeps the tiers below their limits, tasks that lack memory
make room themselves (`keeper.py`), and `acquire` brings a task's inputs up before it begins (`mover.py`). What lies
where is written down in `tiers.py`.
"""

import os
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sized
from contextlib import suppress
from typing import Any

from distributed.spill import SpilledSize

from overspill.memory import tile
from overspill.memory.store import process
from overspill.memory.store.device import Device
from overspill.memory.store.disk import Disk
from overspill.memory.store.entry import Entry, Key
from overspill.memory.store.keeper import Keeper
from overspill.memory.store.meter import Meter
from overspill.memory.store.mover import Mover
from overspill.memory.store.parcel import Parcel, Recipient, outgoing
from overspill.memory.store.tiers import Tiers
from overspill.memory.store.turns import Turns

WORTH_AN_EVENT_NBYTES = 2**20
"""Of smaller values it is not noted when they have been computed: their copies wait for all that is queued by then."""


class Store(MutableMapping[Key, Any]):
    """The results of one worker.

    Parameters
    ----------
    worker_local_directory
        Where the disk tier makes its directory; Dask fills this in.

    Attributes
    ----------
    keeper
        What keeps the limits, once the store is open: asked for room, and whether values are on their way down.
    """

    def __init__(self, worker_local_directory: str | os.PathLike[str]) -> None:
        self._meter = Meter()
        self._disk = Disk(worker_local_directory, self._meter)
        self._tiers = Tiers(self._meter)
        self._turns = Turns(self._tiers.changed)
        self._mover = Mover(self._tiers, self._disk, self._turns)
        self.keeper = Keeper(self._tiers, self._mover, self._turns)
        self._entries: dict[Key, Entry] = {}

    # Life.

    def open(self, device: Device | None) -> None:
        """Keep to limits from now on, the pool's and, where there is one, `device`'s; called on the event loop."""
        tiers = self._tiers
        tiers.device, tiers.pool = device, tile.pool()
        if device is not None:
            device.install(self.keeper.reclaim_device, self._meter)
        tiers.pool.reclaim = self.keeper.reclaim_host
        self._turns.belongs_to_loop()
        process.opened(self._turns)
        self.keeper.start()
        with tiers.changed:
            tiers.tell()

    def close(self) -> None:
        """Let go of everything, files included."""
        process.closed(self._turns)
        self.keeper.close()
        device, pool = self._tiers.device, self._tiers.pool
        if device is not None:
            device.uninstall()
        if pool is not None and pool.reclaim == self.keeper.reclaim_host:
            pool.reclaim = None
        self.clear()
        self._disk.clear()

    # The mapping.

    def __setitem__(self, key: Key, value: Any) -> None:
        device = self._tiers.device
        if isinstance(value, Parcel):
            entry = Entry.of_packed(key, value.packed)
        else:
            entry = Entry.of_value(key, value, device)
            if device is not None and sum(nbytes for _, nbytes in entry.device_extents) >= WORTH_AN_EVENT_NBYTES:
                entry.after = device.mark()
        with self._tiers.changed:
            if key in self._entries:
                del self[key]
            self._entries[key] = entry
            self._tiers.enter(entry)

    def __getitem__(self, key: Key) -> Any:
        if (prepared := outgoing.get()) and key in prepared:
            return prepared[key]
        return self._mover.load(self._entries[key])

    def __delitem__(self, key: Key) -> None:
        with self._tiers.changed:
            entry = self._entries.pop(key)
            self._tiers.leave(entry)
            if entry.file is not None:
                self._disk.remove(entry.file)

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
        with self._tiers.changed:
            self._turns.begin()
            entries = self._known(keys)
            for entry in entries:
                entry.pins += 1
                self._tiers.queues.touch(entry)
            return entries

    def acquire_at_once(self, entries: Iterable[Entry]) -> bool:
        """Bring up those pinned values that it takes no time for; whether all of them are there now."""
        return all(self._mover.load_at_once(entry) for entry in entries)

    def acquire(self, entries: Iterable[Entry]) -> None:
        """Bring pinned values up for their task; blocks, so not for the event loop."""
        for entry in entries:
            self._mover.load(entry, for_task=True)

    def release(self, entries: Iterable[Entry]) -> None:
        """Undo `pin` when the task has ended."""
        with self._tiers.changed:
            for entry in entries:
                entry.pins -= 1
            self._turns.end()
            self._tiers.tell()

    def prepare(self, keys: Iterable[Key], recipient: Recipient) -> dict[Key, Any]:
        """What to send for those of `keys` that are here, none of it on the device; blocks until it is there."""
        mover = self._mover
        values: dict[Key, Any] = {}
        for entry in self._known(keys):
            with suppress(KeyError):  # deleted meanwhile: to the peer it is missing
                values[entry.key] = Parcel(mover.packed(entry), recipient) if entry.of_device else mover.load(entry)
        return values

    def prepared(self, keys: Iterable[Key], recipient: Recipient) -> dict[Key, Any] | None:
        """The same if nothing has to be copied or read for it, else None; never blocks."""
        with self._tiers.changed:
            entries = self._known(keys)
            if all((entry.packed is not None) if entry.of_device else entry.resident for entry in entries):
                return self.prepare(keys, recipient)
            return None

    def at_hand(self, keys: Collection[Key]) -> dict[Key, Any] | None:
        """Those of `keys` that are here, as tasks take them, if all of them lie where tasks want them; never blocks."""
        with self._tiers.changed:
            if not self.resident(keys):
                return None
            entries = self._known(keys)
            for entry in entries:
                self._tiers.queues.touch(entry)
            return {entry.key: entry.value for entry in entries}

    def resident(self, keys: Iterable[Key]) -> bool:
        """Whether all of `keys` that are here lie where tasks take them from."""
        with self._tiers.changed:
            return all(entry.resident for entry in self._known(keys))

    def figures(self) -> dict[str, Any]:
        """Bytes and allocations by tier, bytes and seconds by link, evictions by cause: plain numbers, as on the page.

        A limit of 0 means that there is none, or no such tier.
        """
        device = self._tiers.device
        with self._tiers.changed:
            tiers = self._tiers.figures()
        return {
            "tiers": tiers,
            "allocated_nbytes": device.allocated_nbytes() if device is not None else 0,
            "links": self._meter.links(),
            "evictions": self._meter.evictions(),
        }

    @property
    def spilled_total(self) -> SpilledSize:
        """Bytes of the values that are on disk alone, and of their files: what Dask shows as spilled."""
        with self._tiers.changed:
            alone = self._tiers.queues.on_disk_alone
            return SpilledSize(
                sum(entry.sizeof for entry in alone),
                sum(entry.file.nbytes for entry in alone if entry.file),
            )

    @property
    def slow(self) -> Sized:
        """The values that are on disk alone; Dask's metrics ask how many."""
        return self._tiers.queues.on_disk_alone

    def _known(self, keys: Iterable[Key]) -> list[Entry]:
        with self._tiers.changed:
            return [self._entries[key] for key in keys if key in self._entries]
