"""What a reduction keeps of the elements it has seen, and how two such records become one.

A record is a tuple of arrays, its *parts*. Records are merged in pairs, of equal numbers of elements as far as sizes
allow, so that rounding errors grow with the logarithm of the number of elements, and in an order that depends on
shapes alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Parts: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an array: its shape, where it begins, and the shape of the array."""

    shape: tuple[int, ...]
    start: tuple[int, ...]
    whole: tuple[int, ...]

    def within(self, box: tuple[slice, ...]) -> "Box":
        """A part of this part."""
        start = tuple(first + part.start for first, part in zip(self.start, box, strict=True))
        return Box(tuple(part.stop - part.start for part in box), start, self.whole)


class Reduction(Protocol):
    """How elements become records, on either kind of array. Each says which types of elements it takes.

    Attributes
    ----------
    dtype
        Element type of records, all parts side by side.
    parts
        The number of their parts.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """See above."""
        ...

    @property
    def parts(self) -> int:
        """See above."""
        ...

    def empty(self) -> tuple[Any, ...]:
        """The parts of a record of no elements."""
        ...

    def of_block(self, values: NDArray[Any], axes: tuple[int, ...]) -> Parts:
        """Records of a contiguous block that lies in cache; `axes` are kept with length one."""
        ...

    def of_elements(self, xp: Any, values: Any, places: Any) -> Parts:
        """A record of each element, by elementwise functions of `xp` alone; `places` along the reduced axes."""
        ...

    def located(self, parts: Parts, box: Box, axes: tuple[int, ...]) -> Parts:
        """The records of a box, as part of the array, from those of the box by itself; `axes` are reduced."""
        ...

    def merge(self, xp: Any, a: Parts, b: Parts) -> Parts:
        """The records of what `a` and `b` are the records of, by elementwise functions of `xp` alone."""
        ...


def fold(merge: Callable[[Parts, Parts], Parts], parts: Parts, axis: int) -> Parts:
    """Records merged along an axis, which is kept with length one: halves with each other, until one is left."""
    rest: Parts | None = None
    while (size := parts[0].shape[axis]) > 1:
        half = size // 2
        if size % 2:
            last = _cut(parts, axis, slice(size - 1, size))
            rest = last if rest is None else merge(last, rest)
        parts = merge(_cut(parts, axis, slice(half)), _cut(parts, axis, slice(half, 2 * half)))
    return parts if rest is None else merge(parts, rest)


def _cut(parts: Parts, axis: int, part: slice) -> Parts:
    index = (slice(None),) * axis + (part,)
    return tuple(x[index] for x in parts)


def merged(merge: Callable[[Parts, Parts], Parts], records: Iterable[Parts]) -> Parts:
    """The record of all `records`, in pairs as they come, with as many in memory as their number has binary digits."""
    waiting: list[Parts] = []
    for number, record in enumerate(records, 1):
        while number % 2 == 0:
            record = merge(waiting.pop(), record)
            number //= 2
        waiting.append(record)
    whole = waiting.pop()
    while waiting:
        whole = merge(waiting.pop(), whole)
    return whole


def stacked(reduction: Reduction, xp: Any, parts: Parts) -> Any:
    """Records as one array, their parts along a new last axis."""
    return xp.stack([x.astype(reduction.dtype, copy=False) for x in parts], axis=-1)


def unstacked(reduction: Reduction, records: Any) -> Parts:
    """The parts of what `stacked` made."""
    return tuple(records[..., number] for number in range(reduction.parts))
