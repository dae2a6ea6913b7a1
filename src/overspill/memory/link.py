"""Chunks over the link between host memory and this process's GPU: up and down at once, each on a stream of its own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill import backend
from overspill.memory import ledger
from overspill.memory.store import process
from overspill.memory.store.device import Copy
from overspill.memory.tile import as_tile, empty


def to_device(x: Any) -> Any:
    """`x` on the GPU; `x` itself where it is on one already."""
    return x if backend.is_device_array(x) else upload(np.asarray(x))


def upload(x: NDArray[Any]) -> Any:
    """`x` on the GPU: returns while the copy is queued, for which all work queued later waits.

    What is not a tile is copied into one first: from pageable memory a copy would hold up every call to the GPU.
    """
    x = x.astype(x.dtype.newbyteorder("="), copy=False)  # CuPy knows no other order of bytes
    device = process.device()
    assert device is not None, "chunks go up only where there is a GPU"
    tile = as_tile(x)
    block = device.upload(_bytes(tile))
    ledger.record(uploaded_nbytes=x.nbytes)
    return device.view(block, 0, tile.shape, tile.strides, tile.dtype)


def download(x: Any) -> NDArray[Any]:
    """`x`, an array on a GPU, in a tile, once everything that is queued by now has been done."""
    device = process.device()
    if device is None or not device.is_array(x):  # an array of another GPU than this process's own
        return as_tile(backend.to_numpy(x))
    x = backend.array_namespace(x).ascontiguousarray(x)
    tile = empty(x.shape, x.dtype)
    if x.size:
        device.download([Copy(x, device.span(x).start, _bytes(tile))], None)
    ledger.record(downloaded_nbytes=x.nbytes)
    return tile


def _bytes(tile: NDArray[Any]) -> NDArray[np.uint8]:
    return tile.reshape(-1).view(np.uint8)
