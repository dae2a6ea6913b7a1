"""Reading uncompressed chunks straight into the array that wants them.

Zarr reads a chunk's file into memory and copies it from there. Files of a store written by `overspill.save` hold the
chunk's elements in C order and nothing else, so neither is needed: a whole chunk costs one read and no other memory.
"""

import os
import sys
from collections.abc import Sequence
from itertools import starmap
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from overspill.storage.layout import chunks_in
from overspill.storage.records import chunk_file


def is_raw(array: zarr.Array[Any]) -> bool:
    """Whether the chunk files of `array` hold its elements as NumPy has them in memory."""
    if array.metadata.zarr_format != 3:
        return False
    codecs: list[Any] = [codec.to_dict() for codec in array.metadata.codecs]
    native = {"endian": sys.byteorder}
    return [codec["name"] for codec in codecs] == ["bytes"] and codecs[0].get("configuration", native) == native


def read(
    path: Path, part: Sequence[slice], chunk_shape: Sequence[int], dtype: np.dtype[Any]
) -> np.ndarray[Any, np.dtype[Any]]:
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
        overlaps = list(starmap(_overlap, zip(part, index, chunk_shape, strict=True)))
        here: Any = tuple(in_part for in_part, _ in overlaps)
        there = tuple(in_chunk for _, in_chunk in overlaps)
        _read_chunk(chunk_file(path, index), out[*here, ...], there, chunk_shape)
    return out


def _overlap(part: slice, index: int, side: int) -> tuple[slice, slice]:
    """Where a chunk and `part` meet along one axis, counted from the start of `part` and of the chunk."""
    start, stop = max(part.start, index * side), min(part.stop, (index + 1) * side)
    return slice(start - part.start, stop - part.start), slice(start - index * side, stop - index * side)


def _read_chunk(file: Path, place: np.ndarray[Any, Any], wanted: Sequence[slice], chunk_shape: Sequence[int]) -> None:
    """Fill `place` with the `wanted` part of a chunk, reading no more than the rows it lies in."""
    row_shape = tuple(chunk_shape[1:])
    rows = wanted[0] if wanted else slice(0, 1)
    whole_rows = all(axis == slice(0, side) for axis, side in zip(wanted[1:], row_shape, strict=True))
    direct = whole_rows and place.flags.c_contiguous
    buffer = place if direct else np.empty((rows.stop - rows.start, *row_shape), place.dtype)
    with file.open("rb", buffering=0) as opened:
        size, expected = os.fstat(opened.fileno()).st_size, prod(chunk_shape) * place.itemsize
        if size != expected:
            raise EOFError(f"{file.name} has {size} of {expected} bytes")
        opened.seek(rows.start * prod(row_shape) * place.itemsize)
        _fill(opened, buffer.reshape(-1).view(np.uint8).data)
    if not direct:
        place[...] = buffer[(slice(None), *wanted[1:])]


def _fill(opened: Any, view: memoryview) -> None:
    # One read call of Linux gives at most 2 GiB.
    while view:
        count = opened.readinto(view)
        if not count:
            raise EOFError(f"{opened.name} ended early")
        view = view[count:]
