"""Moving an array's chunks between host and devices, lazily and chunk by chunk."""

from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from overspill import backend, memory

TILE_NAME = "overspill-tile"
"""Layers of arrays whose chunks are tiles bear this name, so that they are not copied into tiles again."""


def to_host(x: da.Array) -> da.Array:
    """`x` with its chunks in tiles: host memory that GPUs reach at full speed and that workers of a host share.

    Parameters
    ----------
    x
        Array of any shape and dtype, its chunks NumPy or CuPy arrays.

    Returns
    -------
    dask.array.Array
        Lazy, of the same shape, dtype and chunks.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.to_host(da.ones((4, 4), chunks=2)).sum().compute()
    np.float64(16.0)
    """
    if holds_tiles(x):
        return x
    meta = backend.meta("host", x.dtype, x.ndim)
    tiles: da.Array = da.map_blocks(_to_tile, x, dtype=x.dtype, meta=meta, name=_name(x))
    return tiles


def holds_tiles(x: da.Array) -> bool:
    """Whether the chunks of `x` come straight from something that makes tiles."""
    return bool(x.name.startswith(f"{TILE_NAME}-")) and backend.residence_of(x._meta) == "host"


def _to_tile(chunk: Any) -> np.ndarray[Any, Any]:
    return memory.as_tile(backend.to_numpy(chunk))


def _name(x: da.Array) -> str:
    return f"{TILE_NAME}-{tokenize(x.name)}"
