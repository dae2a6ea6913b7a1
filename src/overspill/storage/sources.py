"""Which stores a graph reads from."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from dask._task_spec import DataNode, GraphNode, Task

from overspill.storage.stored import StoredArray


def stores_read(graph: Mapping[Any, Any]) -> set[str]:
    """Paths of the stored arrays in `graph`, also of those in tasks within tasks."""
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
        else:
            pending.extend(_parts(value))
    return paths


def _parts(value: Any) -> list[Any]:
    if isinstance(value, DataNode):
        return [value.value]
    if isinstance(value, Task):
        return [*value.args, *value.kwargs.values()]
    if isinstance(value, GraphNode):
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return []
