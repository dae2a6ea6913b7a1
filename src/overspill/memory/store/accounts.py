"""Bytes by base allocation: what a value holds, counted once however many values, views and slices share it."""

import dataclasses
import os
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from distributed.sizeof import safe_sizeof
from numpy.typing import NDArray
from scipy.sparse import csr_array

from overspill.memory import registry
from overspill.memory.store.device import Device

LONGEST = 10_000
"""Containers with more items are not searched for arrays, but weighed as Dask weighs them: by samples."""

Extents = tuple[tuple[Hashable, int], ...]
"""Allocations and their sizes in bytes."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a value holds on the device and in host memory."""

    device: Extents
    host: Extents


class Account:
    """The allocations that a tier holds for its values, each counted once."""

    def __init__(self) -> None:
        self.nbytes = 0
        self.peak_nbytes = 0
        self._holders: dict[Hashable, int] = {}
        # What was counted is what is taken back: a value may have been changed meanwhile, and its parts' names reused.
        self._sizes: dict[Hashable, int] = {}

    @property
    def holders(self) -> int:
        """Number of allocations."""
        return len(self._holders)

    def add(self, extents: Extents) -> None:
        """Count one more value that holds `extents`."""
        for allocation, nbytes in extents:
            holders = self._holders.get(allocation, 0)
            self._holders[allocation] = holders + 1
            if not holders:
                self._sizes[allocation] = nbytes
                self.nbytes += nbytes
        self.peak_nbytes = max(self.peak_nbytes, self.nbytes)

    def remove(self, extents: Extents) -> int:
        """Count one value fewer; the bytes that nobody holds any more."""
        freed = 0
        for allocation, _ in extents:
            holders = self._holders.pop(allocation) - 1
            if holders:
                self._holders[allocation] = holders
            else:
                freed += self._sizes.pop(allocation)
        self.nbytes -= freed
        return freed


@dataclass(slots=True)
class _Found:
    device: list[Any] = field(default_factory=list)
    host: list[NDArray[Any]] = field(default_factory=list)
    rest: list[tuple[int, int]] = field(default_factory=list)


def holdings(value: Any, device: Device | None) -> Holdings:
    """What `value` holds: arrays, sparse matrices in rows, those of cupyx, and containers of both."""
    if device is not None and device.is_array(value) and value.size:
        span = device.span(value)
        return Holdings(((span.allocation, span.allocation_nbytes),), ())
    if isinstance(value, np.ndarray):
        return Holdings((), (extent,) if (extent := host_extent(value)) else ())
    found = _find(value, device)
    on_device: dict[Hashable, int] = {}
    if device is not None:
        for span in (device.span(x) for x in found.device if x.size):
            on_device[span.allocation] = span.allocation_nbytes
    on_host: dict[Hashable, int] = dict(extent for x in found.host if (extent := host_extent(x)))
    on_host.update((("object", identity), nbytes) for identity, nbytes in found.rest)
    return Holdings(tuple(on_device.items()), tuple(on_host.items()))


def host_extent(x: NDArray[Any]) -> tuple[Hashable, int] | None:
    """The allocation under a NumPy array; None for a tile of another process, which that process accounts for."""
    if found := registry.find(x):
        segment, _ = found
        return (("tile", segment.address), segment.nbytes) if segment.owner == os.getpid() else None
    while isinstance(x.base, np.ndarray):
        x = x.base
    return ("array", id(x)), x.nbytes


def _find(value: object, device: Device | None) -> _Found:
    found = _Found()
    stack: list[Any] = [value]
    seen: set[int] = set()
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if device is not None and device.is_array(x):
            found.device.append(x)
        elif isinstance(x, np.ndarray):
            found.host.append(x)
        elif (items := _items(x, device)) is not None:
            stack.extend(items)
        else:
            found.rest.append((id(x), safe_sizeof(x)))
    return found


def _items(x: Any, device: Device | None) -> Iterable[Any] | None:
    """What is to be searched in `x`'s place; None for what has no parts."""
    if isinstance(x, Mapping):
        return x.values() if len(x) <= LONGEST else None
    if isinstance(x, list | tuple | set | frozenset):
        return x if len(x) <= LONGEST else None
    if isinstance(x, csr_array):
        return x.data, x.indices, x.indptr
    if device is not None and (parts := tuple(device.parts(x))):
        return parts
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return [getattr(x, each.name, None) for each in dataclasses.fields(x)]
    return None
