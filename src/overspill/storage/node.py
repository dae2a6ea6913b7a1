"""What lies at a path: a Zarr array, a group of them, something else, or nothing."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from overspill.errors import StorageError, UsageError
from overspill.storage.records import DIRECTORY, SAVE

METADATA = ("zarr.json", ".zarray", ".zgroup")
"""Files one of which makes a directory a Zarr node: format 3, and format 2's arrays and groups."""


def local_path(path: str | os.PathLike[str]) -> Path:
    """`path` made absolute.

    Raises
    ------
    UsageError
        If it is a URL, or no path at all.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise UsageError(f"{path!r} is no path: name a directory, as in 'a.zarr'")
    if "://" in os.fspath(path):
        raise UsageError(f"{path} is a URL, not a path: mount what it names, or copy it, and give the path of that")
    return Path(os.path.abspath(path))


def open_array(path: Path) -> zarr.Array[Any]:
    """The Zarr array at `path`, read-only.

    Raises
    ------
    StorageError
        If there is no Zarr array, or its metadata cannot be read.
    """
    metadata = next((path / name for name in METADATA if (path / name).is_file()), None)
    if metadata is None:
        raise StorageError(f"no Zarr array at {path}: {_what_else(path)}")
    try:
        node = zarr.open(LocalStore(path, read_only=True), mode="r")
        names = [] if isinstance(node, zarr.Array) else sorted(name for name, _ in node.arrays())
    except Exception as error:  # Zarr raises whatever its parsers do
        raise StorageError(
            f"{path} is no readable Zarr array: {metadata.name} is damaged or of an unknown kind ({brief(error)})"
        ) from error
    if isinstance(node, zarr.Array):
        return node
    held = f"the arrays {', '.join(names)}: open one, as in '{path / names[0]}'" if names else "no arrays"
    raise StorageError(f"{path} is a Zarr group, which holds {held}")


def identity(path: Path) -> str:
    """A digest of what says how to read the array at `path`; not of its elements, nor of its attributes."""
    digest = hashlib.sha256()
    for file in (*(path / name for name in METADATA), path / DIRECTORY / SAVE):
        try:
            text = file.read_bytes()
        except OSError:
            continue
        try:
            document = json.loads(text)
            document.pop("attributes", None)
            text = json.dumps(document, sort_keys=True).encode()
        except (ValueError, AttributeError):
            pass
        digest.update(text)
    return digest.hexdigest()


def version(path: Path) -> str:
    """A digest that changes when chunks are written, as the times of the directories that hold them do."""
    digest = hashlib.sha256(f"{path}\n{identity(path)}".encode())
    for directory, below, _ in os.walk(path):
        below[:] = sorted(name for name in below if name != DIRECTORY)
        digest.update(f"\n{directory} {os.stat(directory).st_mtime_ns}".encode())
    return digest.hexdigest()


def brief(error: BaseException) -> str:
    """What an error says, as part of a sentence: its first line, or its name."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _what_else(path: Path) -> str:
    if path.is_dir():
        return "the directory holds no zarr.json and no .zarray"
    return "it is a file, not a directory" if path.exists() else "nothing has that name"
