"""What the store asks of a device: whose memory an array lies in, and copies of whole spans of it, down and up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from overspill.memory.store.meter import Meter


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes that an array reaches over, within the allocation it lies in.

    Attributes
    ----------
    allocation
        Names the allocation for as long as it lives; arrays that share memory share it.
    allocation_nbytes
        Its size in bytes.
    start, stop
        Where the array's lowest byte lies in it, and where its highest ends.
    first
        Where its first element lies, which with negative strides is not the lowest.
    """

    allocation: int
    allocation_nbytes: int
    start: int
    stop: int
    first: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy down: as many bytes as `frame` has, from byte `start` on of the allocation that `x` lies in."""

    x: Any
    start: int
    frame: NDArray[np.uint8]


class Reclaim(Protocol):
    """Makes room on the device."""

    def __call__(self, nbytes: int, *, temporary: bool) -> bool:
        """Free `nbytes` bytes, for what a task makes on its way or for a value that comes up; False: nothing to do."""


class Device(Protocol):
    """The memory of one device, as the store sees it. Blocks and events are the device's own affair.

    Attributes
    ----------
    limit_nbytes
        Bytes that everything on the device may take together, as far as that can be helped.
    """

    limit_nbytes: int

    def install(self, reclaim: Reclaim, meter: Meter) -> None:
        """From now on ask `reclaim` for bytes where an allocation fails; it says whether trying again makes sense."""

    def uninstall(self) -> None:
        """Stop asking."""

    def is_array(self, x: Any) -> bool:
        """Whether `x` is an array of this device."""

    def parts(self, x: Any) -> Iterable[Any]:
        """The arrays that a sparse matrix of this device consists of; nothing for everything else."""

    def span(self, x: Any) -> Span:
        """Where `x`, an array with at least one element, lies."""

    def mark(self) -> Any:
        """An event: everything that is queued on the device now."""

    def download(self, copies: Sequence[Copy], after: Any) -> None:
        """Copy down `after` an event, or after all that is queued if that is None; returns when the bytes are there."""

    def upload(self, frame: NDArray[np.uint8]) -> Any:
        """A new block with the bytes of `frame`; whatever is queued on the device afterwards finds them there."""

    def view(self, block: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any) -> Any:
        """An array over a block."""

    def trim(self, nbytes: int) -> None:
        """Give back what is kept free of the device's memory, waiting if need be, if `nbytes` more pass the limit."""

    def allocated_nbytes(self) -> int:
        """Bytes of the device's memory that this process has taken, for whatever purpose."""
