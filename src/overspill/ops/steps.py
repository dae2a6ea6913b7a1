"""What one step of a graph, a function of chunks, moves and does."""

import functools
import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef
from dask.array import chunk
from dask.array.core import getter, getter_inline, getter_nofancy
from dask.utils import methodcaller

from overspill.kernels.expression import Expression
from overspill.kernels.fused_numpy import BLOCK_NBYTES
from overspill.ops.block_products import planned_in
from overspill.ops.chunks import Extent, in_memory, referred, target
from overspill.ops.residence import TILE_NAME
from overspill.planning.one_pass import Pass
from overspill.planning.operations import NOTHING, Operations, weigh
from overspill.planning.relayout import Target

_GETTERS = (operator.getitem, chunk.getitem, getter, getter_inline, getter_nofancy)

_VIEWS = ("transpose", "broadcast_to", "reshape", "squeeze", "expand_dims", "_broadcast_trick_inner")
"""Functions, by name, whose results take no memory of their own: of ones and zeros Dask makes a single element."""


def step_work(nodes: Mapping[Any, GraphNode], extents: Mapping[Any, Extent], key: Any) -> Pass:
    """What the step that makes `key` moves and does; nothing, where it is data or a view of its input."""
    task = nodes[key]
    if not isinstance(task, Task) or is_view(nodes, task):
        return Pass()
    result, names = extents[key], {target(nodes, other) for other in task.dependencies}
    inputs = [extents[name] for name in names]
    if _reads_store(nodes, task):
        return Pass(read_nbytes=result.nbytes, host_nbytes=result.nbytes)
    if not any(extent.nbytes for extent in inputs):
        return Pass(made_nbytes=result.host_nbytes, device_nbytes=result.device_nbytes)
    if any(isinstance(argument, Target) for argument in task.args):  # copied of its inputs is what it is made of
        return Pass(device_nbytes=2 * result.device_nbytes, host_nbytes=2 * result.host_nbytes)
    from_device = sum(extent.device_nbytes for extent in inputs)
    from_host = sum(extent.host_nbytes for extent in inputs)
    if (planned := planned_in(task)) is not None:
        work = planned.work(on_device=bool(result.device_nbytes))
        vectors = from_host - (planned.matrix_nbytes or 0) * planned.streamed
        met = min(vectors, planned.reads * planned.columns * planned.itemsize) if result.device_nbytes else 0
        return work + Pass(uploaded_nbytes=met, mixed_nbytes=met)
    if not from_device and result.device_nbytes:
        loose = sum(extents[name].host_nbytes for name in names if not _is_tile(name))
        return Pass(uploaded_nbytes=from_host, host_nbytes=2 * loose)
    if from_device == result.host_nbytes and not from_host:
        return Pass(downloaded_nbytes=from_device)
    elements = max(_elements(extent) for extent in (result, *inputs))
    operations = _operations(task, result, reduces=_elements(result) < elements) * elements
    if not from_device:
        return Pass(host_nbytes=from_host + result.host_nbytes, on_host=operations)
    return Pass(
        uploaded_nbytes=from_host,
        mixed_nbytes=from_host,
        downloaded_nbytes=result.host_nbytes,
        device_nbytes=from_device + from_host + result.nbytes,
        on_device=operations,
    )


def is_view(nodes: Mapping[Any, GraphNode], task: Task) -> bool:
    """Whether the result of `task` shares its input's memory, or needs none."""
    if task.func in _GETTERS:
        index = _value(nodes, task.args[1])
        given = index if isinstance(index, tuple) else (index,)
        return not _reads_store(nodes, task) and not any(isinstance(part, list | np.ndarray) for part in given)
    return _name(task.func) in _VIEWS


def scratch_nbytes(nodes: Mapping[Any, GraphNode], extents: Mapping[Any, Extent], key: Any) -> int:
    """Host memory that the step that makes `key` needs besides its inputs and its result."""
    task = nodes[key]
    if not isinstance(task, Task) or is_view(nodes, task):
        return 0
    inputs = [target(nodes, other) for other in task.dependencies]
    if (planned := planned_in(task)) is not None and not extents[key].device_nbytes:
        return planned.scratch_nbytes
    if extents[key].device_nbytes:
        return sum(extents[name].host_nbytes for name in inputs if not _is_tile(name))
    expression = _expression(task)
    if expression is None:
        return 0
    return BLOCK_NBYTES * (len(expression.inputs) + len(expression.calls) + len(expression.outputs))


def device_scratch_nbytes(nodes: Mapping[Any, GraphNode], extents: Mapping[Any, Extent], key: Any) -> int:
    """Device memory that the step that makes `key` needs besides its inputs and its result."""
    task = nodes[key]
    planned = planned_in(task) if isinstance(task, Task) else None
    return planned.scratch_nbytes if planned is not None and extents[key].device_nbytes else 0


def _expression(task: Task) -> Expression | None:
    found = getattr(_inner(task.func), "expression", None)
    return found if isinstance(found, Expression) else None


def _operations(task: Task, result: Extent, *, reduces: bool) -> Operations:
    """What `task` does to an element; at the least it adds it to others, if it `reduces` them."""
    dtype = result.dtype or np.dtype(np.float64)
    expression = _expression(task)
    if expression is not None:
        calls = (weigh(call.function, call.dtype.kind, call.dtype.itemsize) for call in expression.calls)
        return sum(calls, weigh("add", dtype.kind, dtype.itemsize) if reduces else NOTHING)
    name = _name(task.func)
    if name == "pow" and isinstance(exponent := task.args[-1], DataNode) and exponent.value == 2:
        name = "square"
    return weigh(name, dtype.kind, dtype.itemsize)


def _elements(extent: Extent) -> int:
    return extent.nbytes // 8 if extent.shape is None else math.prod(extent.shape)


def _is_tile(key: Any) -> bool:
    return isinstance(key, tuple) and str(key[0]).startswith(TILE_NAME)


def _reads_store(nodes: Mapping[Any, GraphNode], task: Task) -> bool:
    """Whether `task` takes a part of what is indexed like an array but lies on disk: a store, a file that is mapped."""
    if task.func not in _GETTERS:
        return False
    whole = _value(nodes, task.args[0])
    return hasattr(whole, "dtype") and not in_memory(whole)


def _value(nodes: Mapping[Any, GraphNode], argument: Any) -> Any:
    """What an argument of a task is, as far as the graph carries it; None for results of other tasks."""
    if isinstance(argument, TaskRef | Alias):
        argument = nodes.get(target(nodes, referred(argument)))
    if isinstance(argument, DataNode):
        return argument.value
    return None if isinstance(argument, GraphNode) else argument


def _inner(function: Any) -> Any:
    """The function itself, without the arguments that are bound to it."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name(function: Any) -> str:
    inner = _inner(function)
    return str(inner.method if isinstance(inner, methodcaller) else getattr(inner, "__name__", ""))
