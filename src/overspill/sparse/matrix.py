"""The sparse matrix: row blocks of CSR as Dask tasks, with windows of columns that products read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from dask._task_spec import Task
from dask.array.optimization import optimize
from dask.base import DaskMethodsMixin, tokenize
from dask.context import globalmethod
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.threaded import get as threaded_get
from scipy.sparse import csr_array

from overspill.sparse.block import Block

__all__ = ["Block", "CSRMatrix", "of_function"]


class CSRMatrix(DaskMethodsMixin):
    """A sparse matrix of row blocks, each the result of one Dask task, keyed ``(name, i)`` in the order of its rows."""

    def __init__(
        self,
        dask: HighLevelGraph | Mapping[Any, Any],
        name: str,
        shape: tuple[int, int],
        dtype: Any,
        blocks: Sequence[Block],
        residence: Literal["host", "device"] = "host",
    ) -> None:
        if not isinstance(dask, HighLevelGraph):
            dask = HighLevelGraph.from_collections(name, dask, dependencies=())
        self.dask = dask
        self.name = name
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.blocks = tuple(blocks)
        self.residence = residence

    def __dask_graph__(self) -> HighLevelGraph:
        return self.dask

    def __dask_keys__(self) -> list[Any]:
        return [(self.name, i) for i in range(len(self.blocks))]

    def __dask_layers__(self) -> tuple[str, ...]:
        return (self.name,)

    def __dask_tokenize__(self) -> str:
        return self.name

    __dask_optimize__ = globalmethod(optimize, key="array_optimize", falsey=lambda dsk, keys, **kwargs: dsk)
    __dask_scheduler__ = staticmethod(threaded_get)

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _whole, (self.shape, self.dtype, self.blocks)

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuilt, (self.name, self.shape, self.dtype, self.blocks, self.residence)

    ndim = 2

    @property
    def row_chunks(self) -> tuple[int, ...]:
        """Rows of each block."""
        return tuple(block.rows for block in self.blocks)

    @property
    def nnz(self) -> int | None:
        """Stored entries; None until all blocks are computed."""
        counts = [block.nnz for block in self.blocks]
        return None if None in counts else sum(count for count in counts if count is not None)

    def to_scipy(self, limit: Any = None) -> Any:
        """The matrix in this process's memory, computed now."""
        return DaskMethodsMixin.compute(self)


def of_function(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    name: str,
    shape: tuple[int, int],
    dtype: Any,
    blocks: Sequence[Block],
    residence: Literal["host", "device"] = "host",
    dependencies: Sequence[Any] = (),
) -> CSRMatrix:
    """The matrix whose block i is ``function(*arguments[i])``, computed by a task of its own; `name` begins its keys."""
    full = f"{name}-{tokenize(function, arguments, shape, np.dtype(dtype).str, tuple(blocks), residence)}"
    mapping = {(full, i): Task((full, i), function, *given) for i, given in enumerate(arguments)}
    graph = HighLevelGraph.from_collections(full, MaterializedLayer(mapping), dependencies=list(dependencies))
    return CSRMatrix(graph, full, shape, dtype, blocks, residence)


def _rebuilt(
    dsk: Any,
    name: str,
    shape: tuple[int, int],
    dtype: Any,
    blocks: Sequence[Block],
    residence: Literal["host", "device"],
    *,
    rename: Mapping[str, str] | None = None,
) -> CSRMatrix:
    return CSRMatrix(dsk, (rename or {}).get(name, name), shape, dtype, blocks, residence)


def _whole(parts: Sequence[Any], shape: tuple[int, int], dtype: Any, blocks: Sequence[Block]) -> Any:
    parts = [part if isinstance(part, csr_array) else csr_array(part.get()) for part in parts]
    nnz = sum(part.nnz for part in parts)
    index = np.int64 if max(nnz, *shape) > np.iinfo(np.int32).max else np.int32
    data, indices = np.empty(nnz, dtype), np.empty(nnz, index)
    indptr = np.zeros(shape[0] + 1, index)
    row = start = 0
    for part, block in zip(parts, blocks, strict=True):
        stop = start + part.nnz
        data[start:stop] = part.data
        np.add(part.indices, block.columns[0], out=indices[start:stop], casting="unsafe")
        np.add(part.indptr[1:], start, out=indptr[row + 1 : row + block.rows + 1], casting="unsafe")
        row, start = row + block.rows, stop
    return csr_array((data, indices, indptr), shape=shape)
