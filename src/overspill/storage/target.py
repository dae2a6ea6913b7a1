"""The directory that a save writes to: made whole before it takes its name, so that no one sees it half-made."""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from zarr.storage import LocalStore

from overspill.errors import DTypeError, StorageError, StoreExistsError
from overspill.storage import node, records
from overspill.storage.labels import Labels
from overspill.storage.records import Save

OWN_ENTRIES = re.compile(r"zarr\.json|\.zarray|\.zattrs|\.zmetadata|c|c[./].*|\d+([./]\d+)*|\.overspill|.*\.partial")
"""What a Zarr array's directory may hold; anything else is someone's file, and the directory is not removed."""


def create(path: Path, save: Save, labels: Labels) -> None:
    """Make the empty store of `save` at `path`, where nothing is.

    Raises
    ------
    StoreExistsError
        If something is there after all.
    StorageError
        If it cannot be made there.
    DTypeError
        If Zarr has no such element type.
    """
    with _prepared(path, save, labels) as prepared:
        place(prepared, path)


def replace(path: Path, save: Save, labels: Labels) -> None:
    """Put the empty store of `save` in the place of the Zarr array at `path`, which goes only when that is ready.

    Raises
    ------
    StorageError
        If there is something else than a Zarr array, or the store cannot be made.
    DTypeError
        If Zarr has no such element type.
    """
    check_replaceable(path)
    path = path.resolve()
    with _prepared(path, save, labels) as prepared:
        exchange(prepared, path)


def check_replaceable(path: Path) -> None:
    """Refuse to remove what is not a Zarr array and nothing else.

    Raises
    ------
    StorageError
        If `path` is something else, or holds other files.
    """
    try:
        node.open_array(path)
    except StorageError as error:
        raise StorageError(f"overwrite=True replaces Zarr arrays only, but {error}") from None
    strange = sorted(entry for entry in os.listdir(path) if not OWN_ENTRIES.fullmatch(entry))
    if strange:
        raise StorageError(f"{path} holds {strange[0]}, which is no part of a Zarr array: move it away first")


def exists(path: Path) -> StoreExistsError:
    """The error for a target that was not to be there."""
    return StoreExistsError(
        f"{path} exists already: pass overwrite=True to replace it, resume=True to finish it, or name another path"
    )


def place(prepared: Path, path: Path) -> None:
    """Give the directory `prepared` the name `path`, which nothing has.

    Raises
    ------
    StoreExistsError
        If something has it after all.
    """
    try:
        os.rename(prepared, path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise exists(path) from None
        raise


def exchange(prepared: Path, path: Path) -> None:
    """Put the directory `prepared` in the place of that at `path`, and remove that."""
    aside = _sibling(path)
    os.rename(path, aside)
    try:
        os.rename(prepared, path)
    except BaseException:
        os.rename(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _prepared(path: Path, save: Save, labels: Labels) -> Iterator[Path]:
    """A finished empty store beside `path`; removed if it is still there at the end."""
    with beside(path) as prepared:
        prepared.mkdir()
        _create_array(prepared, save, labels)
        records.write_save(prepared, save)
        yield prepared


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name for a directory beside `path`, in a place that is there; removed if it is still there at the end.

    Raises
    ------
    StorageError
        If what is done there raises `OSError`.
    """
    prepared = _sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield prepared
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or node.brief(error)}") from error
    finally:
        shutil.rmtree(prepared, ignore_errors=True)


def _create_array(path: Path, save: Save, labels: Labels) -> None:
    try:
        zarr.create_array(
            LocalStore(path),
            shape=save.shape,
            chunks=save.chunk_shape,
            dtype=np.dtype(save.dtype),
            # What comes out of a computation hardly shrinks, and compressing takes longer than writing.
            compressors=None,
            filters=None,
            dimension_names=labels.dims,
            attributes=dict(labels.attributes),
        )
    except (ValueError, TypeError) as error:
        raise DTypeError(f"Zarr cannot store {save.dtype} elements ({node.brief(error)}): convert them") from error


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")
