"""Which stores a graph reads from."""

import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

import zarr
from dask._task_spec import DataNode, GraphNode, Task
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from overspill.storage.stored import StoredArray


def stores_read(graph: Mapping[Any, Any]) -> set[str]:
    """Paths of the stored arrays in `graph`, also of Zarr's own and of those in tasks within tasks."""
    paths: set[str] = set()
    seen: dict[int, Any] = {}  # keeps what it has seen, lest an id be used again
    pending: list[Any] = list(graph.values())
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, StoredArray):
            paths.add(value.path)
        elif isinstance(value, zarr.Array):
            if (path := _local_path(value)) is not None:
                paths.add(path)
        else:
            pending.extend(_parts(value))
    return paths


def _local_path(array: zarr.Array[Any]) -> str | None:
    """Where on this machine's file systems `array` lies; None if it is elsewhere."""
    store = array.store
    while isinstance(store, WrapperStore):
        store = store._store
    if isinstance(store, LocalStore):
        root = str(store.root)
    elif isinstance(store, FsspecStore) and "file" in store.fs.protocol:
        root = store.path
    else:
        return None
    return os.path.normpath(os.path.join(root, array.path))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, DataNode):
        return [value.value]
    if isinstance(value, Task):
        return [value.func, *value.args, *value.kwargs.values()]
    if isinstance(value, GraphNode):
        return []
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return []
