"""Writing a Dask array to a Zarr store, one task a block, so that it can be interrupted and resumed."""

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from overspill.errors import ArrayError, DTypeError, StorageError, UsageError
from overspill.storage import node, records, target
from overspill.storage.labels import labelled
from overspill.storage.layout import layout
from overspill.storage.records import BlockId, Save
from overspill.storage.sources import stores_read
from overspill.storage.writes import block_writes


def save(
    x: Any,
    path: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    compute: bool = True,
    token: str | None = None,
    dims: Sequence[str] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> da.Array | None:
    """Compute `x` and write it to a Zarr array at `path`, block by block.

    Each block of `x` is computed and written by one task, and recorded as complete once its bytes are written. After an
    interruption, or the loss of any process, ``resume=True`` computes only what is not complete. The store is an
    ordinary Zarr array of format 3, uncompressed; blocks above 64 MiB are stored as several chunks.

    Parameters
    ----------
    x
        A Dask array, or what `dask.array.asarray` takes. Irregular chunks that no grid of chunks of a sensible size
        fits are rechunked to regular ones.
    path
        Directory to make, on a file system that every worker sees. It appears when the save begins.
    resume
        Go on with an earlier save of the same computation; where `path` does not exist, begin. If `x` has other
        chunks by now, as a product planned for another machine does, it is rechunked to the blocks that were begun.
    overwrite
        Replace the Zarr array at `path`.
    compute
        Whether to write now, on the scheduler in use, or to return the tasks.
    token
        Names the computation, so that blocks of another one are not taken for its own; unless given, what the
        operation that made `x` says of itself, as `overspill.matmul` does, or ``x.name``.
    dims
        Names of the axes, which readers such as xarray look for in the store. A resumed save keeps those it began with.
    attributes
        What else is known of the array, ``units`` say, in JSON's types. A resumed save keeps those it began with.

    Returns
    -------
    dask.array.Array or None
        With ``compute=False`` a lazy uint8 array with one element, 1, for each block: computing an element
        writes its block. The empty store is made at once. Otherwise None.

    Raises
    ------
    StoreExistsError
        If `path` exists, and neither `resume` nor `overwrite` is given.
    StorageError
        If `path` cannot be written, was begun by another computation than `x`, or is not a Zarr array to overwrite.
    ArrayError
        If `x` has chunks of unknown size.
    DTypeError
        If Zarr cannot store the elements of `x`.
    UsageError
        If both `resume` and `overwrite` are given, `path` is a URL, `x` is computed from the array to overwrite, `dims`
        are not one name an axis, or `attributes` are not JSON.

    Examples
    --------
    >>> import tempfile, dask.array as da
    >>> from overspill import storage
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     storage.save(da.ones((4, 6), chunks=(2, 6)), f"{directory}/ones.zarr")
    ...     print(storage.open(f"{directory}/ones.zarr"))
    dask.array<array, shape=(4, 6), dtype=float64, chunksize=(2, 6), chunktype=numpy.ndarray>
    """
    if resume and overwrite:
        raise UsageError("resume=True keeps what is stored and overwrite=True replaces it: pass one of them")
    location = node.local_path(path)
    x = da.asarray(x)
    token = _computation(x) if token is None else token
    x = x.astype(x.dtype.newbyteorder("="))
    _check_storable(x)
    labels = labelled(x.ndim, dims, attributes)
    planned = layout(x.chunks, x.dtype.itemsize)
    wanted = Save(
        id=uuid.uuid4().hex,
        shape=x.shape,
        dtype=x.dtype.str,
        blocks=planned.blocks,
        chunk_shape=planned.chunk_shape,
        token=token,
    )
    begun, done = wanted, frozenset[BlockId]()
    if not os.path.lexists(location):
        target.create(location, wanted, labels)
    elif resume:
        begun = _resumed(location, wanted)
        done = frozenset(records.intact(location, begun))
    elif overwrite:
        _check_not_read(x, location)
        target.replace(location, wanted, labels)
    else:
        raise target.exists(location)
    writes = block_writes(x.rechunk(begun.blocks), location, begun, done)
    if not compute:
        return writes
    writes.compute()
    return None


def _computation(x: da.Array) -> str:
    """What names the computation of `x`, however the work was divided."""
    return str(getattr(x.dask.layers.get(x.name), "computation", x.name))


def _check_storable(x: da.Array) -> None:
    if any(np.isnan(size) for sizes in x.chunks for size in sizes):
        raise ArrayError("the array has chunks of unknown size: call its compute_chunk_sizes() before saving it")
    if x.dtype.hasobject or x.dtype.fields is not None:
        raise DTypeError(f"{x.dtype} elements cannot be stored: convert them to numbers or strings of fixed length")


def _resumed(path: Path, wanted: Save) -> Save:
    """The save that made the store at `path`, if `wanted` is the same computation."""
    node.open_array(path)
    begun = records.read_save(path)
    if begun is None:
        raise StorageError(f"{path} holds no records of osp.save to resume from: name another path, or overwrite=True")
    for name in ("shape", "dtype", "token"):
        there, here = getattr(begun, name), getattr(wanted, name)
        if there != here:
            raise StorageError(
                f"{path} was begun with {name} {_short(there)}, but this array has {_short(here)}: "
                "name another path, or overwrite=True to begin anew"
            )
    return begun


def _check_not_read(x: da.Array, path: Path) -> None:
    if os.path.realpath(path) in map(os.path.realpath, stores_read(x.dask)):
        raise UsageError(f"the array is computed from {path}, which it would overwrite: save it to another path")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
