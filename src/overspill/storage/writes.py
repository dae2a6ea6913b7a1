"""The tasks of a save: each writes one block, and records it."""

import uuid
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Alias, DataNode
from dask.highlevelgraph import HighLevelGraph

from overspill import backend
from overspill.errors import ArrayError, DTypeError, StorageError
from overspill.storage import node, raw, records
from overspill.storage.layout import block_ids, region
from overspill.storage.records import BlockId, Save
from overspill.storage.through import Passage, is_whole, passage

Done = np.ndarray[Any, np.dtype[np.uint8]]


def block_writes(x: da.Array, path: Path, save: Save, done: Set[BlockId]) -> da.Array:
    """One element a block; those of `done` blocks are constants, so that nothing is computed for them."""
    way = passage(x, save)
    write, arrays, given = (write_block, [x], {}) if way is None else (write_passage, [], {"way": way})
    writes: da.Array = da.map_blocks(
        write,
        *arrays,
        path=str(path),
        save=save,
        **given,
        # Under a name of an earlier attempt a scheduler may still hold that one's failure.
        name=f"save-{uuid.uuid4().hex}",
        chunks=tuple((1,) * count for count in x.numblocks),
        dtype=np.uint8,
        meta=np.empty((0,) * x.ndim, np.uint8),
    )
    return _without(writes, save, done) if done else writes


def write_block(block: Any, *, path: str, save: Save, block_id: BlockId | None = None) -> Done:
    """Write one block to its place, then record it; writing it twice does no harm.

    Raises
    ------
    StorageError
        If it cannot be written, or the store belongs to another save by now.
    ArrayError
        If the block is not of the size that the array's chunks announce.
    DTypeError
        If its elements are not what the array's dtype announces, nor can be converted to it.
    """
    assert block_id is not None  # map_blocks fills it in
    where = f"block {block_id} of {path}"
    part = region(save.blocks, block_id)
    data = backend.to_numpy(block)
    if data.shape != (shape := tuple(axis.stop - axis.start for axis in part)):
        raise ArrayError(f"{where} has shape {data.shape}, where the array's chunks say {shape}: correct the chunks")
    if not np.can_cast(data.dtype, save.dtype, "same_kind"):
        raise DTypeError(f"{where} has {data.dtype} elements, where the array says {np.dtype(save.dtype)}: convert it")
    with _recorded(Path(path), save, block_id):
        raw.write(Path(path), save, part, data.astype(save.dtype, copy=False))
    return _done(block_id)


def write_passage(*, way: Passage, path: str, save: Save, block_id: BlockId | None = None) -> Done:
    """Write one block piece by piece as its elements are read and computed, then record it.

    Raises
    ------
    StorageError
        If one of the stores it is read from cannot be read, it cannot be written, or the store belongs to another save
        by now.
    """
    assert block_id is not None
    if not is_whole(save, block_id):
        block = way.block(region(save.blocks, block_id))
        return write_block(block, path=path, save=save, block_id=block_id)
    with _recorded(Path(path), save, block_id), raw.replacing(Path(path), save, block_id) as opened:
        for piece in way.pieces(block_id):
            raw.append(opened, piece)
    return _done(block_id)


@contextmanager
def _recorded(path: Path, save: Save, block_id: BlockId) -> Iterator[None]:
    """Around what writes a block, which is recorded when that is done."""
    where = f"block {block_id} of {path}"
    if not records.is_current(path, save):
        raise StorageError(f"{where} was not written: the store is gone or belongs to another save by now")
    try:
        yield
        records.write_record(path, save, block_id)
    except StorageError:
        raise  # from reading, and says so
    except OSError as error:
        raise StorageError(f"{where} cannot be written: {error.strerror or node.brief(error)}") from error


def _done(block_id: BlockId) -> Done:
    return np.ones((1,) * len(block_id), np.uint8)


def _without(writes: da.Array, save: Save, done: Set[BlockId]) -> da.Array:
    """`writes` with constants for the blocks that are `done`."""
    one = np.ones((1,) * writes.ndim, np.uint8)
    name = f"resumed-{writes.name}"
    layer: dict[Any, DataNode | Alias] = {
        (name, *block_id): DataNode((name, *block_id), one)
        if block_id in done
        else Alias((name, *block_id), (writes.name, *block_id))
        for block_id in block_ids(save.blocks)
    }
    graph = HighLevelGraph({**writes.dask.layers, name: layer}, {**writes.dask.dependencies, name: {writes.name}})
    return da.Array(graph, name, writes.chunks, meta=writes._meta)
