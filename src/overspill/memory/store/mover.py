"""One value on its way down a tier or up again: its entry is busy meanwhile, and nobody's lock is held for a copy.

A value is never given up before its copy is whole, and what cannot be copied stays where it is.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

from distributed.sizeof import safe_sizeof

from overspill.memory.store.disk import Disk, File
from overspill.memory.store.entry import Entry
from overspill.memory.store.meter import Cause, Tier
from overspill.memory.store.packing import Packed, pack, unpack
from overspill.memory.store.parcel import Parcel
from overspill.memory.store.tiers import Tiers
from overspill.memory.store.turns import Turns
from overspill.memory.tile import SMALLEST_NBYTES

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class Mover:
    """Moves the values of one store, each for the thread that asks.

    Attributes
    ----------
    leaving
        By tier, the threads that are taking a value off it.
    """

    def __init__(self, tiers: Tiers, disk: Disk, turns: Turns) -> None:
        self._tiers = tiers
        self._disk = disk
        self._turns = turns
        self.leaving: dict[Tier, list[int]] = {"device": [], "host": []}

    # Down.

    def evict(self, cause: Cause) -> int | None:
        """Take a value off the tier that `cause` tells of; the bytes freed there, None if there was nothing to move."""
        return self._evict_from_device(cause) if cause.startswith("device") else self._evict_from_host(cause)

    def _evict_from_device(self, cause: Cause) -> int | None:
        tiers = self._tiers
        with tiers.changed:
            entry = tiers.queues.next_from_device()
            if entry is None:
                return None
            if entry.copied:
                return tiers.drop_value(entry, cause)
            entry.busy = True

        def keep(packed: Packed) -> int:
            tiers.keep_packed(entry, packed)
            return 0 if entry.pins or entry.deleted else tiers.drop_value(entry, cause)

        return self._move(entry, self._copy_down, keep, leaving="device") or 0

    def _evict_from_host(self, cause: Cause) -> int | None:
        tiers = self._tiers
        with tiers.changed:
            entry = tiers.queues.next_from_host()
            if entry is None:
                return None
            if entry.clean:
                return tiers.drop_host(entry, cause)
            entry.busy = True

        def keep(file: File) -> int:
            if entry.deleted:
                self._disk.remove(file)
                return 0
            tiers.keep_file(entry, file)
            return 0 if entry.pins and not entry.on_device else tiers.drop_host(entry, cause)

        return self._move(entry, self._copy_to_disk, keep, leaving="host") or 0

    def packed(self, entry: Entry) -> Packed:
        """A copy of `entry` in host memory, kept for the next time."""
        tiers = self._tiers
        with tiers.changed:
            while entry.packed is None and entry.busy:
                tiers.changed.wait()
            if entry.packed is not None:
                tiers.queues.touch(entry)
                return entry.packed
            if entry.deleted:
                raise KeyError(entry.key)
            entry.busy = True

        def keep(packed: Packed) -> Packed:
            tiers.keep_packed(entry, packed)
            return packed

        packed = self._move(entry, self._copy_down if entry.resident else self._read, keep)
        if packed is None:
            raise TypeError(f"the result {entry.key!r} cannot be sent to another process: see the worker's log")
        return packed

    def _move(
        self, entry: Entry, copy: Callable[[Entry], T], keep: Callable[[T], R], *, leaving: Tier | None = None
    ) -> R | None:
        """Copy a busy entry outside the lock, and `keep` the copy inside; None if it never can be copied."""
        tiers = self._tiers
        result, kept = None, None
        if leaving:
            with tiers.changed:
                self.leaving[leaving].append(threading.get_ident())
        try:
            result = copy(entry)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            if entry.deleted and leaving:
                return None  # only who asks for a value is told what became of it: this one has gone anyway
            if entry.deleted:
                raise
            entry.stuck = True
            logger.warning("The result %r cannot be spilled and stays where it is: %s", entry.key, str(error))
        finally:
            with tiers.changed:
                if leaving:
                    self.leaving[leaving].remove(threading.get_ident())
                entry.busy = False
                if result is not None:
                    kept = keep(result)
                tiers.queues.place(entry)
                tiers.tell()
        return kept

    def _copy_down(self, entry: Entry) -> Packed:
        return pack(entry.value, self._tiers.device, entry.after)

    def _copy_to_disk(self, entry: Entry) -> File:
        entry.sizeof = safe_sizeof(Parcel(entry.packed, "worker") if entry.packed else entry.value)
        return self._disk.write(entry.packed or pack(entry.value, self._tiers.device))

    # Up.

    def load(self, entry: Entry, *, for_task: bool = False) -> Any:
        """The value of `entry`, brought up if it is not there; meanwhile a task counts among those that wait."""
        tiers = self._tiers
        with tiers.changed:
            while entry.busy and not entry.resident:
                # Who moves it may be waiting for this very task to end.
                with self._turns.standing() if for_task else nullcontext():
                    tiers.changed.wait()
            if entry.resident:
                tiers.queues.touch(entry)
                return entry.value
            if entry.deleted:
                raise KeyError(entry.key)
            entry.busy = True
        return self._bring_up(entry)

    def load_at_once(self, entry: Entry) -> bool:
        """The same for a small value that lies in host memory; False if it lies elsewhere, or it could take long."""
        with self._tiers.changed:
            if entry.resident:
                return True
            small = entry.packed is not None and entry.packed.nbytes < SMALLEST_NBYTES
            if not small or entry.busy or entry.deleted:
                return False
            entry.busy = True
        try:
            self._bring_up(entry)
        except MemoryError:
            return False
        return True

    def _bring_up(self, entry: Entry) -> Any:
        """The value of a busy entry, which is no longer busy then."""
        tiers = self._tiers
        loaded, packed = None, entry.packed
        try:
            packed = packed or self._read(entry)
            with tiers.expecting(packed.device_nbytes):
                loaded = Entry.of_value(entry.key, unpack(packed, tiers.device), tiers.device)
        finally:
            with tiers.changed:
                entry.busy = False
                if loaded is not None and packed is not None and not entry.deleted:
                    tiers.bring_back(entry, loaded, packed)
                tiers.tell()
        return loaded.value

    def _read(self, entry: Entry) -> Packed:
        assert entry.file is not None
        try:
            return self._disk.read(entry.file)
        except FileNotFoundError:
            if entry.deleted:
                raise KeyError(entry.key) from None
            raise
