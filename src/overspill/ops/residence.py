"""Moving an array's chunks between host and devices, lazily and chunk by chunk."""

from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from overspill import backend, memory
from overspill.errors import DTypeError
from overspill.memory import link
from overspill.planning.resources import active

TILE_NAME = "overspill-tile"
"""Layers of arrays whose chunks are tiles bear this name, so that they are not copied into tiles again."""

DEVICE_NAME = "overspill-device"
"""Layers that bring chunks up bear this name, so that plans know them."""


def to_device(x: Any) -> da.Array:
    """`x` with its chunks on GPUs, or `x` itself where there are none, so that the same code runs everywhere.

    What is computed chunk by chunk from there to `to_host` is one task a chunk: up, through every operation in between,
    and down into a tile. While one task computes, the next one's chunk comes up and the last one's result goes down.

    Parameters
    ----------
    x
        A Dask array, or what `dask.array.asarray` takes, of an element type that CuPy knows. Chunks that are tiles
        (`to_host`) are read by the GPU where they lie; others are copied into tiles on the way.

    Returns
    -------
    dask.array.Array
        Lazy, of the same shape, dtype and chunks.

    Raises
    ------
    DTypeError
        If CuPy does not know the element type.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> x = osp.to_host(da.ones((4, 4), chunks=2))
    >>> y = osp.to_host(da.sqrt(osp.to_device(x)) * 2)
    >>> y.sum().compute()
    np.float64(32.0)
    """
    array: da.Array = da.asarray(x)
    if backend.residence_of(array._meta) == "device" or not on_gpus():
        return array
    try:
        meta = backend.meta("device", array.dtype, array.ndim)
    except ValueError as error:
        raise DTypeError(f"no GPU can hold {array.dtype} elements ({error}): convert them with x.astype()") from None
    return _map(link.to_device, array, DEVICE_NAME, meta)


def to_host(x: Any) -> da.Array:
    """`x` with its chunks in tiles: host memory that GPUs reach at full speed and that workers of a host share.

    Parameters
    ----------
    x
        A Dask array of any dtype, its chunks NumPy or CuPy arrays, or what `dask.array.asarray` takes.

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
    array: da.Array = da.asarray(x)
    if holds_tiles(array):
        return array
    return _map(_to_tile, array, TILE_NAME, backend.meta("host", array.dtype, array.ndim))


def holds_tiles(x: da.Array) -> bool:
    """Whether the chunks of `x` come straight from something that makes tiles."""
    return bool(x.name.startswith(f"{TILE_NAME}-")) and backend.residence_of(x._meta) == "host"


def on_gpus() -> bool:
    """Whether chunks can go up: the active cluster's workers have GPUs, or this machine does."""
    resources = active()
    return bool(backend.gpus()) if resources is None else resources.device == "cuda"


def _map(move: Any, x: da.Array, name: str, meta: Any) -> da.Array:
    moved: da.Array = da.map_blocks(move, x, dtype=x.dtype, meta=meta, name=f"{name}-{tokenize(x.name)}")
    return moved


def _to_tile(chunk: Any) -> np.ndarray[Any, Any]:
    return link.download(chunk) if backend.is_device_array(chunk) else memory.as_tile(np.asarray(chunk))
