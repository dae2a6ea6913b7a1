"""Chunk files that hold elements in C order and nothing else, read and written without Zarr.

Zarr reads a chunk's file into memory and copies it from there, and writes from a thread of its own. Without compression
neither is needed: a whole chunk costs one read, or one write, and no other memory.
"""

import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import starmap
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from overspill.storage import records
from overspill.storage.layout import chunks_in
from overspill.storage.records import Save, chunk_file


def is_raw(array: zarr.Array[Any]) -> bool:
    """Whether the chunk files of `array` hold its elements as NumPy has them in memory, and have the usual names."""
    if array.metadata.zarr_format != 3:
        return False
    codecs: list[Any] = [codec.to_dict() for codec in array.metadata.codecs]
    native = {"endian": sys.byteorder}
    first = (0,) * len(array.shape)
    return (
        [codec["name"] for codec in codecs] == ["bytes"]
        and codecs[0].get("configuration", native) == native
        and Path(array.metadata.encode_chunk_key(first)) == chunk_file(Path(), first)
    )


def read(path: Path, part: Sequence[slice], chunk_shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The elements of `part`, which has no steps, of the raw array at `path`.

    Raises
    ------
    OSError
        If a chunk file is missing or cannot be read.
    EOFError
        If one is not of the size of a chunk.
    """
    out = np.empty([axis.stop - axis.start for axis in part], dtype)
    for index in chunks_in(part, chunk_shape):
        here, there = _overlaps(part, index, chunk_shape)
        _read_chunk(chunk_file(path, index), out[*here, ...], there, chunk_shape)
    return out


def read_pieces(
    path: Path, index: tuple[int, ...], chunk_shape: Sequence[int], buffer: NDArray[Any]
) -> Generator[NDArray[Any]]:
    """The elements of a chunk in C order, as many at a time as fit in `buffer`: they lie there until the next come.

    Raises
    ------
    OSError, EOFError
        As from `read`.
    """
    left = prod(chunk_shape)
    with _opened(chunk_file(path, index), left * buffer.itemsize) as opened:
        while left:
            piece = buffer[:left]
            _fill(opened, piece)
            yield piece
            left -= piece.size


def write(path: Path, save: Save, part: Sequence[slice], data: NDArray[Any]) -> None:
    """Write `data`, of the type of `save`, to `part` of its store, which ends between chunks or at the array's edge.

    Raises
    ------
    OSError
        If a file cannot be written, or the store at `path` now belongs to another save.
    """
    for index in chunks_in(part, save.chunk_shape):
        here, there = _overlaps(part, index, save.chunk_shape)
        chunk = data[*here, ...]
        if chunk.shape != save.chunk_shape:
            chunk = np.zeros(save.chunk_shape, data.dtype)
            chunk[*there, ...] = data[*here, ...]
        with replacing(path, save, index) as opened:
            append(opened, np.ascontiguousarray(chunk))


@contextmanager
def replacing(path: Path, save: Save, index: tuple[int, ...]) -> Iterator[FileIO]:
    """A new file for the block to write, which becomes the chunk's when all of it is written."""
    file, temporary = chunk_file(path, index), records.temporary(path, save)
    try:
        with temporary.open("xb", buffering=0) as opened:
            yield opened
        file.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def append(opened: FileIO, data: NDArray[Any]) -> None:
    """Write the elements of `data`, which is contiguous."""
    view = data.reshape(-1).view(np.uint8).data
    # One call of Linux writes at most 2 GiB, and less where the disk is nearly full.
    while view:
        view = view[opened.write(view) :]


def _overlaps(
    part: Sequence[slice], index: Sequence[int], chunk_shape: Sequence[int]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Where a chunk and `part` meet, counted from the start of `part` and of the chunk."""
    overlaps = list(starmap(_overlap, zip(part, index, chunk_shape, strict=True)))
    return tuple(here for here, _ in overlaps), tuple(there for _, there in overlaps)


def _overlap(part: slice, index: int, side: int) -> tuple[slice, slice]:
    start, stop = max(part.start, index * side), min(part.stop, (index + 1) * side)
    return slice(start - part.start, stop - part.start), slice(start - index * side, stop - index * side)


def _read_chunk(file: Path, place: NDArray[Any], wanted: Sequence[slice], chunk_shape: Sequence[int]) -> None:
    """Fill `place` with the `wanted` part of a chunk, reading no more than the rows it lies in."""
    row_shape = tuple(chunk_shape[1:])
    rows = wanted[0] if wanted else slice(0, 1)
    whole_rows = all(axis == slice(0, side) for axis, side in zip(wanted[1:], row_shape, strict=True))
    direct = whole_rows and place.flags.c_contiguous
    buffer = place if direct else np.empty((rows.stop - rows.start, *row_shape), place.dtype)
    with _opened(file, prod(chunk_shape) * place.itemsize) as opened:
        opened.seek(rows.start * prod(row_shape) * place.itemsize)
        _fill(opened, buffer)
    if not direct:
        place[...] = buffer[(slice(None), *wanted[1:])]


@contextmanager
def _opened(file: Path, nbytes: int) -> Iterator[FileIO]:
    """A chunk file to read, which must have `nbytes`."""
    with file.open("rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        if size != nbytes:
            raise EOFError(f"{file.name} has {size} of {nbytes} bytes")
        yield opened


def _fill(opened: FileIO, data: NDArray[Any]) -> None:
    view = data.reshape(-1).view(np.uint8).data
    # One call of Linux reads at most 2 GiB.
    while view:
        count = opened.readinto(view)
        if not count:
            raise EOFError(f"{opened.name!r} ended early")
        view = view[count:]
