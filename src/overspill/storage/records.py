"""What a save writes beside its data: what is being saved, and one completion record for each block that is written.

A store holds them under ``.overspill/``: ``save.json`` describes the save, ``blocks-ID/`` has one empty file for each
complete block. ID names this save and no other, so that a task left over from an earlier save of the same path finds no
place for its record. All records outlive a process that is killed; they are not forced to disk against a loss of power.
"""

import json
import os
import uuid
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from overspill.errors import StorageError
from overspill.storage.layout import Blocks, block_ids, chunks_in, region

DIRECTORY = ".overspill"

SAVE = "save.json"

BlockId = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Save:
    """One save of one array.

    Attributes
    ----------
    id
        Unique to this save.
    shape, dtype
        Those of the array; the dtype as `numpy.dtype.str`.
    blocks
        Sizes of the blocks along each axis.
    chunk_shape
        Shape of the store's chunks.
    token
        Names the computation: only a save with the same token may go on with this one.
    """

    id: str
    shape: tuple[int, ...]
    dtype: str
    blocks: Blocks
    chunk_shape: tuple[int, ...]
    token: str

    @property
    def block_count(self) -> int:
        """How many blocks there are to write."""
        return prod(len(sizes) for sizes in self.blocks)

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of every chunk file: chunks are stored whole and uncompressed."""
        return prod(self.chunk_shape) * np.dtype(self.dtype).itemsize


def write_save(path: Path, save: Save) -> None:
    """Put `save` into the new store at `path`, with no block complete."""
    _blocks_directory(path, save).mkdir(parents=True)
    (path / DIRECTORY / SAVE).write_text(json.dumps(asdict(save), indent=1), encoding="utf-8")


def read_save(path: Path) -> Save | None:
    """The save that wrote the store at `path`; None if another program did.

    Raises
    ------
    StorageError
        If its description is damaged.
    """
    source = path / DIRECTORY / SAVE
    try:
        fields = json.loads(source.read_text(encoding="utf-8"))
        return Save(
            id=_text(fields["id"]),
            shape=tuple(map(int, fields["shape"])),
            dtype=np.dtype(fields["dtype"]).str,
            blocks=tuple(tuple(map(int, sizes)) for sizes in fields["blocks"]),
            chunk_shape=tuple(map(int, fields["chunk_shape"])),
            token=_text(fields["token"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{source} is damaged ({error!r}): save the array anew with overwrite=True") from None


def write_record(path: Path, save: Save, block_id: BlockId) -> None:
    """State that the block's bytes are all written.

    Raises
    ------
    FileNotFoundError
        If the store at `path` now belongs to another save.
    """
    # An empty file cannot be half-written; the rename makes it appear at once on network file systems too.
    empty = temporary(path, save)
    empty.touch()
    os.replace(empty, _blocks_directory(path, save) / _name(block_id))


def temporary(path: Path, save: Save) -> Path:
    """A name for a file of `save` that is not whole yet, in a directory that goes with the save."""
    # A task left over from an earlier save of the same path has no such directory any more: nothing of it gets into
    # the store.
    return _blocks_directory(path, save) / f".{uuid.uuid4().hex}"


def is_current(path: Path, save: Save) -> bool:
    """Whether the store at `path` still belongs to `save`."""
    return _blocks_directory(path, save).is_dir()


def recorded(path: Path, save: Save) -> set[BlockId]:
    """The blocks that have completion records."""
    try:
        names = set(os.listdir(_blocks_directory(path, save)))
    except FileNotFoundError:
        return set()
    return {block_id for block_id in block_ids(save.blocks) if _name(block_id) in names}


def intact(path: Path, save: Save) -> set[BlockId]:
    """The blocks that have completion records, and whose chunk files are still there in full."""
    return {
        block_id
        for block_id in recorded(path, save)
        if all(
            _nbytes(chunk_file(path, index)) == save.chunk_nbytes
            for index in chunks_in(region(save.blocks, block_id), save.chunk_shape)
        )
    }


def chunk_file(path: Path, index: tuple[int, ...]) -> Path:
    """Where a store written by `overspill.save` holds a chunk: Zarr's default key encoding."""
    return path.joinpath("c", *map(str, index))


def _blocks_directory(path: Path, save: Save) -> Path:
    return path / DIRECTORY / f"blocks-{save.id}"


def _name(block_id: BlockId) -> str:
    return "-".join(["block", *map(str, block_id)])


def _nbytes(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
