"""Row blocks of CSR as a Dask collection: what Dask and plans know of a sparse matrix."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from dask.array.core import Array
from dask.base import DaskMethodsMixin, compute
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph
from dask.threaded import get
from scipy.sparse import csr_array

from overspill import backend
from overspill.sparse import whole
from overspill.sparse.block import Block, RowBlock, check_blocks, total
from overspill.sparse.operands import check_dtype


class RowBlocks(DaskMethodsMixin):
    """Row blocks, each made by one task; `overspill.sparse.CSRMatrix` says what the parameters are."""

    ndim = 2

    def __init__(
        self,
        dask: HighLevelGraph | Mapping[Any, Any],
        name: str,
        shape: tuple[int, int],
        dtype: Any,
        blocks: Sequence[Block],
        residence: backend.Residence = "host",
    ) -> None:
        if not isinstance(dask, HighLevelGraph):
            dask = HighLevelGraph.from_collections(name, dask, dependencies=())
        self.dask = dask
        self.name = name
        self.shape = int(shape[0]), int(shape[1])
        self.dtype = check_dtype(dtype)
        self.blocks = tuple(blocks)
        self.residence: backend.Residence = residence
        check_blocks(self.shape, self.blocks)
        _annotate(self)

    def __dask_graph__(self) -> HighLevelGraph:
        return self.dask

    def __dask_keys__(self) -> list[Any]:
        return [(self.name, i) for i in range(len(self.blocks))]

    def __dask_layers__(self) -> tuple[str, ...]:
        return (self.name,)

    def __dask_tokenize__(self) -> str:
        return self.name

    # The same as arrays have, so that Dask optimizes both together.
    __dask_optimize__ = Array.__dict__["__dask_optimize__"]
    __dask_scheduler__: Any = staticmethod(get)

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return whole.joined, (self.shape, self.dtype, self.blocks)

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuilt, (type(self), self.name, self.shape, self.dtype, self.blocks, self.residence)

    def __repr__(self) -> str:
        rows, columns = self.shape
        count = "entries not counted yet" if self.nnz is None else f"{self.nnz} entries"
        blocks = f"{len(self.blocks)} block{'s' * (len(self.blocks) != 1)}"
        return f"CSRMatrix({rows} × {columns} {self.dtype}, {count}, {blocks} on the {self.residence})"

    @property
    def row_chunks(self) -> tuple[int, ...]:
        """Rows of each block."""
        return tuple(block.rows for block in self.blocks)

    @property
    def nnz(self) -> int | None:
        """Stored entries; None where the graph does not tell: `compute_nnz` counts them."""
        return total([block.nnz for block in self.blocks])

    @property
    def nbytes(self) -> int | None:
        """Bytes of all blocks; None where `nnz` is."""
        return total([block.nbytes(self.dtype.itemsize) for block in self.blocks])

    def compute_nnz(self) -> Self:
        """The same matrix with its stored entries counted: its blocks are computed now, so persist it first."""
        counts = compute(*(delayed(_count)(part) for part in self.to_delayed()))
        blocks = [replace(block, nnz=count) for block, count in zip(self.blocks, counts, strict=True)]
        return type(self)(self.dask, self.name, self.shape, self.dtype, blocks, self.residence)

    def to_delayed(self) -> list[Delayed]:
        """The row blocks, each as a `dask.delayed.Delayed`."""
        return [Delayed(key, self.dask, layer=self.name) for key in self.__dask_keys__()]

    def compute(self, *, limit: str | int | None = None, **kwargs: Any) -> csr_array[Any]:
        """The whole matrix in this process's memory, if it takes no more than `limit`; see `to_scipy`.

        Other keywords are those of `dask.compute`.
        """
        whole.check_fits(self, limit)
        found: csr_array[Any] = super().compute(**kwargs)
        return found


def _count(block: RowBlock) -> int:
    return int(block.nnz)


def _rebuilt(
    dsk: Any,
    kind: type[RowBlocks],
    name: str,
    shape: tuple[int, int],
    dtype: Any,
    blocks: Sequence[Block],
    residence: backend.Residence,
    *,
    rename: Mapping[str, str] | None = None,
) -> RowBlocks:
    return kind(dsk, (rename or {}).get(name, name), shape, dtype, blocks, residence)


def _annotate(A: RowBlocks) -> None:
    """Tell plans how large blocks are, where Dask's arrays tell it of their chunks."""
    layer = A.dask.layers.get(A.name)
    if layer is not None:
        sizes = tuple(block.nbytes(A.dtype.itemsize) for block in A.blocks)
        layer.collection_annotations = {"row_blocks_nbytes": sizes, "on_device": A.residence == "device"}
