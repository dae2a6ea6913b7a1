"""One value of the store, and the queues that tell which value leaves a tier next."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from overspill.memory.store.accounts import Extents, holdings
from overspill.memory.store.device import Device
from overspill.memory.store.disk import File
from overspill.memory.store.packing import Packed
from overspill.memory.tile import SMALLEST_NBYTES

Key: TypeAlias = Hashable


@dataclass(slots=True, eq=False)
class Entry:
    """A value and its copies: the value itself, packed in host memory, in a file. At least one of them is there.

    Attributes
    ----------
    key
        Its name in the store.
    sizeof
        Bytes of a value on disk as Dask counts them, which has tiles weigh what their handles do.
    value, resident
        The value as tasks take it, and whether it is there.
    of_device
        Whether it has arrays of the device, so that it needs to be packed to lie in host memory.
    after
        The event after which the device has computed it; None for whatever is queued when it is copied.
    packed, file
        Copies in host memory and on disk.
    device_extents, host_extents, packed_extents
        What the value holds on the device and in host memory, and what the packed copy holds.
    pins
        Tasks that use the value, which it must stay for.
    busy
        Whether a thread is moving it.
    stuck
        Whether it can never be copied down, so that without a copy it stays where it is.
    deleted
        Whether the store has forgotten it meanwhile.
    """

    key: Key
    sizeof: int = 0
    value: Any = None
    resident: bool = False
    of_device: bool = False
    after: Any = None
    packed: Packed | None = None
    file: File | None = None
    device_extents: Extents = ()
    host_extents: Extents = ()
    packed_extents: Extents = ()
    pins: int = 0
    busy: bool = False
    stuck: bool = False
    deleted: bool = False

    @classmethod
    def of_value(cls, key: Key, value: Any, device: Device | None) -> Self:
        """The entry of a value as tasks take it."""
        held = holdings(value, device)
        return cls(
            key,
            value=value,
            resident=True,
            of_device=bool(held.device),
            device_extents=held.device,
            host_extents=held.host,
        )

    @classmethod
    def of_packed(cls, key: Key, packed: Packed) -> Self:
        """The entry of a value that has arrived packed."""
        return cls(key, packed=packed, of_device=packed.from_device, packed_extents=packed.extents)

    @property
    def copied(self) -> bool:
        """Whether it has a copy further down, so that its value can be dropped."""
        return self.packed is not None or self.file is not None

    @property
    def on_device(self) -> bool:
        """Whether it holds memory of the device now."""
        return self.resident and bool(self.device_extents)

    @property
    def small(self) -> bool:
        """Whether taking it off the device would free next to nothing, for as many calls as a large value takes."""
        return sum(nbytes for _, nbytes in self.device_extents) < SMALLEST_NBYTES

    @property
    def on_host(self) -> bool:
        """Whether it holds memory of the host's own now, which evicting it would free."""
        return bool(self.packed_extents) or (self.resident and not self.of_device and bool(self.host_extents))

    @property
    def clean(self) -> bool:
        """Whether its copy in host memory can be dropped without writing it anywhere."""
        return self.file is not None or (self.packed is not None and self.on_device)


class Queues:
    """Entries that may leave the device, drop their clean copies on the host, or go to disk; longest unused first.

    Small ones leave the device when nothing else can.
    """

    def __init__(self) -> None:
        # Keyed by the entries themselves: one that was deleted may still be moved while its key is in use again.
        self._device: OrderedDict[Entry, None] = OrderedDict()
        self._device_small: OrderedDict[Entry, None] = OrderedDict()
        self._clean: OrderedDict[Entry, None] = OrderedDict()
        self._dirty: OrderedDict[Entry, None] = OrderedDict()
        self.on_disk_alone: OrderedDict[Entry, None] = OrderedDict()

    def place(self, entry: Entry) -> None:
        """Put `entry` where it now belongs, as the latest used if it was not there before."""
        here = not entry.deleted
        leaves = here and entry.on_device and (entry.copied or not entry.stuck)
        _put(self._device, entry, leaves and not entry.small)
        _put(self._device_small, entry, leaves and entry.small)
        _put(self._clean, entry, here and entry.on_host and entry.clean)
        _put(self._dirty, entry, here and entry.on_host and not entry.clean and not entry.stuck)
        alone = entry.file is not None and not entry.resident and entry.packed is None
        _put(self.on_disk_alone, entry, here and alone)

    def touch(self, entry: Entry) -> None:
        """Make `entry` the latest used."""
        for queue in (self._device, self._device_small, self._clean, self._dirty):
            if entry in queue:
                queue.move_to_end(entry)

    def next_from_device(self) -> Entry | None:
        """The entry to take off the device; None where tasks use all that are there."""
        return next(_idle(self._device), None) or next(_idle(self._device_small), None)

    def next_from_host(self) -> Entry | None:
        """The entry whose host memory to free: one with a copy elsewhere, else one to be written to disk."""
        # A packed copy of a value that a task uses on the device is not itself in use.
        clean = (entry for entry in self._clean if not entry.busy and (entry.on_device or not entry.pins))
        return next(clean, None) or next(_idle(self._dirty), None)


def _put(queue: OrderedDict[Entry, None], entry: Entry, belongs: bool) -> None:
    if belongs:
        queue.setdefault(entry)
    else:
        queue.pop(entry, None)


def _idle(queue: OrderedDict[Entry, None]) -> Iterator[Entry]:
    return (entry for entry in queue if not entry.pins and not entry.busy)
