"""Reading a Zarr array as a Dask array, each chunk on its own."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from dask.array.core import normalize_chunks
from dask.base import tokenize
from numpy.typing import NDArray

from overspill.errors import StorageError, UsageError
from overspill.storage import node, raw, records


def open(path: str | os.PathLike[str], *, chunks: Any = None) -> da.Array:
    """A lazy array over the Zarr array at `path`, of format 2 or 3.

    Parameters
    ----------
    path
        A directory, on a file system that every worker sees.
    chunks
        Chunks of the result, in any form that `dask.array` takes; those of the store unless given, or its shards where
        it has them. Chunks that are not multiples of the stored ones make tasks read the same file more than once.

    Returns
    -------
    dask.array.Array
        Nothing is read yet. A task that reads a chunk which cannot be decoded raises `StorageError`. Where the store
        was written by `overspill.save` a missing chunk is such an error as well; elsewhere it stands, as Zarr
        has it, for the fill value.

    Raises
    ------
    StorageError
        If there is no Zarr array, its metadata is damaged, or `overspill.save` has not finished it.
    UsageError
        If `path` is a URL, or `chunks` do not fit the array.

    Examples
    --------
    >>> import tempfile, zarr
    >>> from overspill import storage
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     z = zarr.create_array(f"{directory}/a.zarr", shape=(6, 4), chunks=(3, 4), dtype="f8")
    ...     z[:] = 1.0
    ...     x = storage.open(f"{directory}/a.zarr")
    ...     print(x.chunks, x.sum().compute())
    ((3, 3), (4,)) 24.0
    """
    location = node.local_path(path)
    array = node.open_array(location)
    save = records.read_save(location)
    if save is not None:
        _check_finished(location, array, save)
    unit = tuple(array.shards or array.chunks)
    stored = StoredArray(
        path=str(location),
        shape=array.shape,
        dtype=array.dtype,
        chunks=unit,
        identity=node.identity(location),
        version=node.version(location),
        raw=raw.is_raw(array),
        complete=save is not None,
    )
    try:
        normal = normalize_chunks(
            unit if chunks is None else chunks, array.shape, dtype=array.dtype, previous_chunks=unit
        )
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UsageError(f"chunks={chunks!r} do not fit {path} of shape {array.shape}: {node.brief(error)}") from None
    meta = np.empty((0,) * len(array.shape), array.dtype)
    # Without fancy=False, Dask may hand lists of indices to the store.
    lazy: da.Array = da.from_array(
        stored, chunks=normal, name=_name(stored, normal), asarray=False, fancy=False, inline_array=True, meta=meta
    )
    return lazy


def stored_in(x: da.Array) -> "StoredArray | None":
    """The stored array that `x` is the whole of, if it is what `open` returned."""
    # Dask may have fused reading with what is done next: then the layer has the name of that.
    inputs = getattr(x.dask.layers.get(x.name), "indices", ())
    arrays = (value for value, _ in inputs if isinstance(value, StoredArray))
    return next((stored for stored in arrays if _name(stored, x.chunks) == x.name), None)


def _name(stored: "StoredArray", chunks: Any) -> str:
    return f"array-{tokenize(stored, chunks)}"


@dataclass(frozen=True, slots=True)
class StoredArray:
    """A Zarr array on disk, as a task carries it: where it lies and which one it is, but no open files and no data.

    Attributes
    ----------
    path
        Its directory.
    shape, dtype
        Those of the array.
    chunks
        Shape of what is worth reading at once: the store's shards, or its chunks.
    identity
        What reading it relies on, see `node.identity`; a store in which this has changed is not read.
    version
        Names the contents as they were when the array was opened.
    raw
        Whether its files can be read without Zarr.
    complete
        Whether `overspill.save` wrote it, so that a missing file is no chunk of fill values, but an error.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    identity: str
    version: str
    raw: bool
    complete: bool

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (type(self).__name__, self.version)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        part, rest = _slices(index, self.shape)
        path = self._unchanged(part)
        with self._reporting(part):
            read = self._read(path, part)
            return read[rest] if rest else read

    def pieces(self, index: tuple[int, ...], buffer: NDArray[Any]) -> Generator[NDArray[Any]]:
        """The elements of a chunk of a raw array in C order, as many at a time as fit in `buffer`, where they lie.

        Raises
        ------
        StorageError
            As tasks that read the array raise it.
        """
        part = tuple(slice(i * side, (i + 1) * side) for i, side in zip(index, self.chunks, strict=True))
        path = self._unchanged(part)
        with self._reporting(part):
            try:
                yield from raw.read_pieces(path, index, self.chunks, buffer)
            except FileNotFoundError:
                chunk = self._read(path, part).reshape(-1)
                for start in range(0, chunk.size, buffer.size):
                    piece = buffer[: chunk.size - start]
                    piece[...] = chunk[start : start + buffer.size]
                    yield piece

    def _read(self, path: Path, part: tuple[slice, ...]) -> NDArray[Any]:
        if self.raw:
            try:
                return raw.read(path, part, self.chunks, self.dtype)
            except FileNotFoundError:
                if self.complete:
                    raise
        return np.asarray(_opened(self.path, self.identity)[part])

    def _unchanged(self, part: Sequence[slice]) -> Path:
        path = Path(self.path)
        if node.identity(path) != self.identity:
            raise StorageError(
                f"{self._cannot_read(part)}: the store that was opened is gone or replaced: open it again"
            )
        return path

    @contextmanager
    def _reporting(self, part: Sequence[slice]) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:  # Zarr raises whatever its codecs do
            raise StorageError(
                f"{self._cannot_read(part)}, for a chunk is missing or damaged ({node.brief(error)}): restore it or "
                "save the array anew"
            ) from error

    def _cannot_read(self, part: Sequence[slice]) -> str:
        return f"{self.path} cannot be read at [{', '.join(f'{axis.start}:{axis.stop}' for axis in part)}]"


@lru_cache(maxsize=64)
def _opened(path: str, identity: str) -> zarr.Array[Any]:
    """One open array a process and store; `identity` is part of the cache's key only."""
    return node.open_array(Path(path))


def _slices(index: Any, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[Any, ...]]:
    """`index` as the contiguous part of the array to read, and what is left to index in that part."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in items:
        at = items.index(Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - sum(item is not None for item in items) + 1)
    items += [slice(None)] * (len(shape) - sum(item is not None for item in items))
    part: list[slice] = []
    rest: list[Any] = []
    for item in items:
        if item is None:
            rest.append(None)
            continue
        selected = range(shape[len(part)])[item]
        if isinstance(selected, int):
            part.append(slice(selected, selected + 1))
            rest.append(0)
        elif len(selected) == 0:
            part.append(slice(0, 0))
            rest.append(slice(None))
        else:
            part.append(slice(min(selected[0], selected[-1]), max(selected[0], selected[-1]) + 1))
            rest.append(slice(None, None, selected.step))
    return tuple(part), tuple(rest)


def _check_finished(path: Path, array: zarr.Array[Any], save: records.Save) -> None:
    is_same = (save.shape, np.dtype(save.dtype), save.chunk_shape) == (array.shape, array.dtype, array.chunks)
    if not is_same or not raw.is_raw(array):
        raise StorageError(
            f"{path} is not as osp.save wrote it, another program changed its shape, dtype, chunks or codecs: "
            f"remove {path / records.DIRECTORY} to open it as it is"
        )
    done = len(records.recorded(path, save))
    if done < save.block_count:
        raise StorageError(
            f"{path} is not complete, {save.block_count - done} of {save.block_count} blocks are not written: "
            "finish it with osp.save(..., resume=True)"
        )
