"""Arrays of any size whose every element is known, so that results can be checked on the host.

Every element follows from its row and column by integer arithmetic and has one of `LEVELS` values: any chunk can be
made again on the host, bit for bit, and means over the whole array follow, in float64, from how often each value
occurs.
"""

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import dask.array as da
import numpy as np
from distributed import Client
from numpy.typing import NDArray

from overspill import backend

LEVELS = 2**16

ROWS, COLUMNS = 2654435761, 2246822519
"""Multipliers that scatter indices over the levels, different ones lest arrays be symmetric."""

MEAN_RTOL = 1e-4
"""Of a float32 mean of so many elements; one chunk of a thousand left out makes more."""

SAMPLES = 5

Span = tuple[int, int]
"""The first index, and the one after the last."""


def grid(count: int) -> tuple[int, int]:
    """Rows and columns that make `count` chunks, as nearly as many of both as can be."""
    rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    return rows, count // rows


def array(xp: str, side: int, grid: tuple[int, int]) -> da.Array:
    """A lazy float32 array of `grid` square chunks, made where they are computed by the module named `xp`."""
    meta = importlib.import_module(xp).empty((0, 0), np.float32)
    chunks = tuple((side,) * count for count in grid)
    return da.map_blocks(_block, xp, chunks=chunks, dtype=meta.dtype, meta=meta)


def block(xp: ModuleType, rows: Span, columns: Span) -> Any:
    """The elements of these rows and columns, from 0 to below 1."""
    numbers = _levels(xp, *rows, ROWS)[:, None] + _levels(xp, *columns, COLUMNS)[None, :]
    x = numbers.astype(xp.float32)
    x *= xp.float32(1 / LEVELS)
    return x


def on_host(rows: Span, columns: Span) -> NDArray[Any]:
    """Elements of the array as NumPy makes them."""
    return np.asarray(block(np, rows, columns))


def mean_of(function: Callable[[Any], Any], shape: tuple[int, ...]) -> float:
    """The mean of `function` over all elements of an array of `shape`."""
    rows, columns = (
        np.fft.rfft(np.bincount(_levels(np, 0, length, multiplier), minlength=LEVELS))
        for length, multiplier in zip(shape, (ROWS, COLUMNS), strict=True)
    )
    occurrences = np.fft.irfft(rows * columns, LEVELS)  # of sums modulo LEVELS: a circular convolution
    return float(occurrences @ function(np.arange(LEVELS) / LEVELS) / math.prod(shape))


def check_mean(got: float, function: Callable[[Any], Any], shape: tuple[int, ...]) -> float:
    """The relative error of a mean, which must be small."""
    expected = mean_of(function, shape)
    error = abs(got / expected - 1)
    assert error < MEAN_RTOL, f"mean {got}, expected {expected}"
    return error


def check_blocks(client: Client, x: da.Array, expected: Callable[[Span, Span], NDArray[Any]], atol: float = 0) -> int:
    """Compare some chunks, from corner to corner, with the same made on the host; their number."""
    rng = np.random.default_rng(0)
    rows, columns = x.numblocks
    picks = {(0, 0), (rows - 1, 0), (rows - 1, columns - 1)}
    picks |= {(int(rng.integers(rows)), int(rng.integers(columns))) for _ in range(SAMPLES - len(picks))}
    side = x.chunksize[0]
    for i, j in sorted(picks):
        chosen = x.blocks[i, j].map_blocks(backend.to_numpy, dtype=x.dtype, meta=np.empty((0, 0), x.dtype))
        got = client.compute(chosen).result()
        wanted = expected((i * side, (i + 1) * side), (j * side, (j + 1) * side))
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        # Not NumPy's own assertion, which takes seconds for a chunk.
        assert np.array_equal(got, wanted) or abs(got - wanted).max() <= atol, f"chunk {i}, {j} is wrong"
    return len(picks)


def _levels(xp: ModuleType, start: int, stop: int, multiplier: int) -> Any:
    """The parts that indices from `start` to `stop` contribute to their elements."""
    indices = xp.arange(start, stop, dtype=xp.uint32)
    return ((indices * xp.uint32(multiplier)) >> xp.uint32(16)).astype(xp.uint16)


def _block(xp: str, block_info: Any = None) -> Any:
    return block(importlib.import_module(xp), *block_info[None]["array-location"])
