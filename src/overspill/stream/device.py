"""What the pipeline asks of a device; `cpu` and `cuda` answer it."""

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from overspill.planning.arithmetic import Arithmetic
from overspill.stream.strip import Part

SLOTS = 2
"""Pairs of panel buffers: one is filled while the other is multiplied."""

Panel = Any
"""A device's form of a (side, width) matrix."""


@dataclass(frozen=True, slots=True)
class TileShape:
    """The shape of an output tile, and the largest that its siblings have, for which buffers are made.

    Attributes
    ----------
    actual
        Rows and columns of the tile.
    largest
        Rows and columns of the largest tile of the product.
    width
        Width of the widest panel.
    """

    actual: tuple[int, int]
    largest: tuple[int, int]
    width: int

    @property
    def size(self) -> int:
        """Elements of the largest tile."""
        return self.largest[0] * self.largest[1]

    def panel_size(self, operand: int) -> int:
        """Elements of the largest panel of A (0) or B (1)."""
        return self.largest[operand] * self.width


class TileStream(Protocol):
    """The making of one output tile on one device. Calls are queued in order; only `download` waits for all of them."""

    def next_slot(self) -> int:
        """The pair of buffers for the next panels; who shares them has `link`, and lets go of it once it has `turn`."""

    def make_room(self) -> None:
        """Prepare what the tile is downloaded to. Called once the first product is queued, from a thread of its own."""

    def upload(self, operand: Literal[0, 1], slot: int, parts: Iterable[Part], shape: tuple[int, int]) -> Panel:
        """Bring a panel of A (operand 0) or B (1) into buffer `slot`, once the product that last used it is done.

        It may wait, in the thread of its own that calls it.
        """

    def multiply(self, slot: int, a: Panel, b: Panel, *, last: bool = False) -> None:
        """Add the product of a panel of A and the transpose of a panel of B, both of buffer `slot`, to the tile.

        Parts that the `last` one has finished can go down while it makes others.
        """

    def download(self) -> Any:
        """The finished tile, on the host or the device as the stream was opened."""

    def close(self) -> None:
        """Hand the buffers back; also after a failure, when work may still be queued."""


class Device(Protocol):
    """Something that streams run on."""

    @property
    def link(self) -> AbstractContextManager[Any]:
        """Held by the one task whose panels go up, where those of others would hinder it."""

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """The same of the one that multiplies; taken after the link, if both are."""

    def open(
        self, shape: TileShape, dtype: str, arithmetic: Arithmetic, *, keep_on_device: bool, in_turn: bool
    ) -> TileStream:
        """Begin an output tile, whose panels go up `in_turn` with those of others, while the task holds `link`, or not.

        Those that do may share their buffers.
        """

    def give_way(self, nbytes: int) -> None:
        """Let a task whose first panels are narrow take the link before one whose are wide, of `nbytes` bytes.

        The latter calls it. Where nothing is multiplied yet, everything waits for the first panels.
        """


_lock = threading.Lock()
_devices: dict[str, Device] = {}


def device(side: Literal["numpy", "cupy"]) -> Device:
    """The one device of this process for `side`, whichever thread asks: its buffers count against a budget."""
    with _lock:
        if side not in _devices:
            _devices[side] = _make(side)
        return _devices[side]


def _make(side: Literal["numpy", "cupy"]) -> Device:
    if side == "numpy":
        from overspill.stream.cpu import CPU

        return CPU()
    from overspill.stream.cuda import CUDA

    return CUDA()
