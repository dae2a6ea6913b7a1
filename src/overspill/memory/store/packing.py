"""A value taken apart for a lower tier: the bytes of its arrays in frames, and how to put it together again.

Everything that is not an array is pickled, with numbers in the arrays' places, so that any structure of arrays, sparse
matrices among them, can be packed.
"""

import io
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from overspill.memory import tile
from overspill.memory.store.accounts import Extents, holdings
from overspill.memory.store.device import Copy, Device, Span
from overspill.memory.tile import SMALLEST_NBYTES

_ALIGNMENT = 256
"""Bytes: arrays in one frame begin at multiples of it, as CUDA's own allocations do."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one array lies in a frame; an array without elements lies in none."""

    frame: int | None
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    on_device: bool


@dataclass(frozen=True, slots=True)
class Packed:
    """A value in host memory, arrays of a device included.

    Attributes
    ----------
    skeleton
        Pickle of the value without its arrays; empty where the value is one array.
    layouts
        The arrays, by the numbers that stand in their places.
    frames
        Bytes, each of a part of one allocation, or of several small ones.
    """

    skeleton: bytes
    layouts: tuple[Layout, ...]
    frames: tuple[NDArray[np.uint8], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all frames and of the rest."""
        return len(self.skeleton) + sum(frame.nbytes for frame in self.frames)

    @property
    def extents(self) -> Extents:
        """What its frames hold in host memory, of this process's own."""
        return holdings(self.frames, None).host

    @property
    def device_nbytes(self) -> int:
        """Bytes of those frames that belong on a device."""
        numbers = {layout.frame for layout in self.layouts if layout.on_device and layout.frame is not None}
        return sum(self.frames[number].nbytes for number in numbers)

    @property
    def from_device(self) -> bool:
        """Whether any of the arrays belongs on a device."""
        return any(layout.on_device for layout in self.layouts)


def pack(value: object, device: Device | None, after: Any = None) -> Packed:
    """`value` in host memory: arrays of the device are copied down `after` an event, the host's own lie where they do.

    Raises
    ------
    MemoryBudgetError
        If there is no room for the copies.
    Exception
        Whatever pickling raises.
    """
    skeleton, arrays = _take_apart(value, device)
    frames: list[NDArray[np.uint8]] = []
    layouts: dict[int, Layout] = {}
    spans: defaultdict[int, dict[int, Span]] = defaultdict(dict)
    for number, x in enumerate(arrays):
        on_device = device is not None and device.is_array(x)
        if not x.size:
            layouts[number] = Layout(None, 0, x.shape, x.strides, np.dtype(x.dtype), on_device)
        elif on_device and device is not None:
            span = device.span(x)
            spans[span.allocation][number] = span
        else:
            layouts[number] = _host_layout(x, frames)
    if device is not None and spans:
        copies: list[Copy] = []
        for regions in _by_frame([_Region(of_allocation) for of_allocation in spans.values()]):
            frame = tile.empty((max(offset + region.nbytes for region, offset in regions),), np.uint8)
            for region, offset in regions:
                part = frame[offset : offset + region.nbytes]
                copies.append(Copy(arrays[next(iter(region.spans))], region.start, part))
                for number, span in region.spans.items():
                    x, first = arrays[number], offset + span.first - region.start
                    layouts[number] = Layout(len(frames), first, x.shape, x.strides, np.dtype(x.dtype), True)
            frames.append(frame)
        device.download(copies, after)
    return Packed(skeleton, tuple(layouts[number] for number in range(len(arrays))), tuple(frames))


def unpack(packed: Packed, device: Device | None) -> Any:
    """The value again; arrays of the device are queued for upload, the host's own lie in the frames."""
    uploaded = {layout.frame for layout in packed.layouts if layout.on_device and layout.frame is not None}
    if uploaded and device is None:
        raise RuntimeError("the value holds arrays of a GPU, and this process has none: ask for osp.to_host(x) instead")
    empty = np.empty(0, np.uint8)
    blocks: dict[int | None, Any] = {None: empty}
    for number, frame in enumerate(packed.frames):
        blocks[number] = device.upload(frame) if device is not None and number in uploaded else frame
    arrays = [_array(layout, blocks, device) for layout in packed.layouts]
    if not packed.skeleton:
        return arrays[0]
    return _Unpickler(packed.skeleton, arrays).load()


class _Region:
    """The bytes of one allocation that arrays reach over, and the spans of those arrays by their numbers."""

    def __init__(self, spans: dict[int, Span]) -> None:
        self.spans = spans
        self.start = min(span.start for span in spans.values())
        self.nbytes = max(span.stop for span in spans.values()) - self.start


def _by_frame(regions: Iterable[_Region]) -> Iterator[list[tuple[_Region, int]]]:
    """Which regions lie in a frame together, and where: small ones all in one, since each frame costs some calls."""
    together: list[tuple[_Region, int]] = []
    end = 0
    for region in regions:
        if region.nbytes >= SMALLEST_NBYTES:
            yield [(region, 0)]
        else:
            together.append((region, end))
            end += -(-region.nbytes // _ALIGNMENT) * _ALIGNMENT
    if together:
        yield together


def _array(layout: Layout, blocks: dict[int | None, Any], device: Device | None) -> Any:
    if layout.on_device and device is not None:
        block = device.upload(blocks[None]) if layout.frame is None else blocks[layout.frame]
        return device.view(block, layout.offset, layout.shape, layout.strides, layout.dtype)
    if layout.frame is None:
        return np.empty(layout.shape, layout.dtype)
    return np.ndarray(layout.shape, layout.dtype, blocks[layout.frame], layout.offset, layout.strides)


def _host_layout(x: NDArray[Any], frames: list[NDArray[np.uint8]]) -> Layout:
    # Along an axis without a stride all elements are one, as in what `broadcast_to` makes.
    once = x[tuple(slice(1) if stride == 0 else slice(None) for stride in x.strides)]
    if not (once.flags.c_contiguous or once.flags.f_contiguous):
        once = np.ascontiguousarray(once)
    frames.append(once.ravel(order="K").view(np.uint8))
    strides = tuple(0 if stride == 0 else new for stride, new in zip(x.strides, once.strides, strict=True))
    return Layout(len(frames) - 1, 0, x.shape, strides, x.dtype, False)


def _take_apart(value: object, device: Device | None) -> tuple[bytes, Sequence[Any]]:
    if _is_part(value, device):
        return b"", [value]
    try:
        skeleton, arrays = _pickle(value, device, _Pickler)
        if b"__main__" not in skeleton:
            return skeleton, arrays
    except (pickle.PicklingError, AttributeError, TypeError):
        pass
    # Slower, but it takes local functions, and what another process would look for in its own main program.
    return _pickle(value, device, _CloudPickler)


def _pickle(
    value: object, device: Device | None, pickler: "type[_Pickler | _CloudPickler]"
) -> tuple[bytes, Sequence[Any]]:
    file, parts = io.BytesIO(), _Parts(device)
    pickler(file, parts).dump(value)
    return file.getvalue(), parts.arrays


def _is_part(x: object, device: Device | None) -> bool:
    if device is not None and device.is_array(x):
        return True
    return type(x) is np.ndarray and x.nbytes >= SMALLEST_NBYTES and not x.dtype.hasobject


class _Parts:
    """The arrays met while pickling, each once."""

    def __init__(self, device: Device | None) -> None:
        self.arrays: list[Any] = []
        self._device = device
        self._numbers: dict[int, int] = {}

    def number(self, x: Any) -> int | None:
        """What stands for `x` in the pickle; None for what is not one of the arrays."""
        if not _is_part(x, self._device):
            return None
        if id(x) not in self._numbers:
            self._numbers[id(x)] = len(self.arrays)
            self.arrays.append(x)
        return self._numbers[id(x)]


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, parts: _Parts) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._parts = parts

    def persistent_id(self, obj: Any) -> int | None:
        return self._parts.number(obj)


class _CloudPickler(cloudpickle.Pickler):
    def __init__(self, file: io.BytesIO, parts: _Parts) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._parts = parts

    def persistent_id(self, obj: Any) -> int | None:
        return self._parts.number(obj)


class _Unpickler(pickle.Unpickler):
    def __init__(self, skeleton: bytes, arrays: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(skeleton))
        self._arrays = arrays

    def persistent_load(self, pid: Any) -> Any:
        return self._arrays[pid]
