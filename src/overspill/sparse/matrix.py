"""The sparse matrix: row blocks of CSR as Dask tasks, with windows of columns that products read."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef
from dask.array.core import Array
from dask.base import DaskMethodsMixin, compute, tokenize
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.threaded import get
from scipy.sparse import csr_array

from overspill import backend
from overspill.errors import ArrayError
from overspill.sparse import arithmetic, cutting, products, whole
from overspill.sparse.block import Block, RowBlock
from overspill.sparse.operands import check_dtype
from overspill.sparse.transposed import Transposed, from_left

__all__ = ["Block", "CSRMatrix", "of_function"]


class CSRMatrix(DaskMethodsMixin):
    """A sparse matrix in row blocks, each made by one Dask task, on the host or on GPUs.

    ``A @ x`` and ``A.T @ x`` make lazy Dask arrays of Dask, NumPy or CuPy vectors and of matrices of a few columns; a
    task reads only the part of `x` that its block's columns need. Matrices are added, scaled, cast and cut by rows
    lazily too. Dask knows them as a collection: ``dask.persist(A, x)``, ``A.persist()``.

    Parameters
    ----------
    dask
        The graph; keys are ``(name, i)``, the blocks in the order of their rows.
    name
        Of the matrix in it.
    shape
        Rows and columns.
    dtype
        float32, float64, complex64 or complex128.
    blocks
        What is known of each block.
    residence
        Where blocks lie: ``"host"`` (`scipy.sparse.csr_array`) or ``"device"`` (`cupyx.scipy.sparse.csr_matrix`).

    Raises
    ------
    ArrayError
        Blocks whose rows are not those of `shape`, or whose windows reach over its columns.
    DTypeError
        Any other element type.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> import overspill as osp
    >>> A = osp.sparse.CSRMatrix.from_scipy(scipy.sparse.diags_array([1.0, 2.0, 3.0]), blocks=2)
    >>> A
    CSRMatrix(3 × 3 float64, 3 entries, 2 blocks on the host)
    >>> (A @ np.ones(3)).compute()
    array([1., 2., 3.])
    """

    __array_ufunc__ = None  # NumPy's and Dask's arrays leave operators to this class
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
        self.shape = shape
        self.dtype = check_dtype(dtype)
        self.blocks = tuple(blocks)
        self.residence: backend.Residence = residence
        _check_blocks(shape, self.blocks)
        _annotate(self)

    @classmethod
    def from_scipy(cls, A: Any, blocks: int | None = None) -> "CSRMatrix":
        """The matrix of one in memory; see `overspill.sparse.from_scipy`."""
        from overspill.sparse.from_memory import from_scipy

        return from_scipy(A, blocks)

    @classmethod
    def from_coo(
        cls, rows: Any, columns: Any, values: Any, shape: tuple[int, int], blocks: int | None = None
    ) -> "CSRMatrix":
        """The matrix of triplets in chunks; see `overspill.sparse.from_coo`."""
        from overspill.sparse.from_triplets import from_coo

        return from_coo(rows, columns, values, shape, blocks)

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
    __dask_scheduler__ = staticmethod(get)

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return whole.joined, (self.shape, self.dtype, self.blocks)

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuilt, (self.name, self.shape, self.dtype, self.blocks, self.residence)

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
        counts = [block.nnz for block in self.blocks if block.nnz is not None]
        return sum(counts) if len(counts) == len(self.blocks) else None

    @property
    def nbytes(self) -> int | None:
        """Bytes of all blocks; None where `nnz` is."""
        sizes = [size for block in self.blocks if (size := block.nbytes(self.dtype.itemsize)) is not None]
        return sum(sizes) if len(sizes) == len(self.blocks) else None

    @property
    def T(self) -> Transposed:
        """The transpose, a view: ``A.T @ x`` needs no transposed copy."""
        return Transposed(self)

    @property
    def H(self) -> Transposed:
        """The conjugate transpose, a view."""
        return Transposed(self, conjugated=True)

    def compute_nnz(self) -> "CSRMatrix":
        """The same matrix with its stored entries counted: its blocks are computed now, so persist it first."""
        counts = compute(*(delayed(_count)(part) for part in self.to_delayed()))
        blocks = [replace(block, nnz=count) for block, count in zip(self.blocks, counts, strict=True)]
        return CSRMatrix(self.dask, self.name, self.shape, self.dtype, blocks, self.residence)

    def to_delayed(self) -> list[Delayed]:
        """The row blocks, each as a `dask.delayed.Delayed`."""
        return [Delayed(key, self.dask, layer=self.name) for key in self.__dask_keys__()]

    def matvec(self, x: Any) -> da.Array:
        """``A @ x``."""
        y: da.Array = self @ x
        return y

    def rmatvec(self, x: Any) -> da.Array:
        """``A.H @ x``, as SciPy's linear operators have it."""
        y: da.Array = self.H @ x
        return y

    def diagonal(self) -> da.Array:
        """The elements on the diagonal, lazily and where `A` lies, chunks as its blocks."""
        return arithmetic.diagonal(self)

    def astype(self, dtype: Any) -> "CSRMatrix":
        """The same entries of another element type; complex ones stay complex."""
        return arithmetic.astype(self, dtype)

    def conj(self) -> "CSRMatrix":
        """The same with its elements conjugated."""
        return arithmetic.conjugate(self)

    def to_device(self) -> "CSRMatrix":
        """The same with its blocks on GPUs; itself where there are none."""
        return arithmetic.to_device(self)

    def to_host(self) -> "CSRMatrix":
        """The same with its blocks in tiles: host memory that GPUs reach at full speed."""
        return arithmetic.to_host(self)

    def to_scipy(self, limit: str | int | None = None) -> csr_array[Any]:
        """The whole matrix in this process's memory, computed now.

        Parameters
        ----------
        limit
            Most bytes that it may take; what the host has left unless given.

        Raises
        ------
        MemoryBudgetError
            If it is known to take more.
        """
        whole.check_fits(self, limit)
        (gathered,) = compute(self.to_host() if self.residence == "device" else self, traverse=False)
        found: csr_array[Any] = gathered
        return found

    def compute(self, **kwargs: Any) -> csr_array[Any]:
        """The whole matrix in this process's memory, if it fits; see `to_scipy`. Keywords are `dask.compute`'s."""
        whole.check_fits(self, None)
        found: csr_array[Any] = super().compute(**kwargs)
        return found

    def map_blocks(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        name: str,
        dtype: Any,
        residence: backend.Residence | None = None,
    ) -> "CSRMatrix":
        """The matrix of blocks ``function(block, *arguments)``, which have entries in the same places."""
        return of_function(
            function,
            [(TaskRef((self.name, i)), *arguments) for i in range(len(self.blocks))],
            name=name,
            shape=self.shape,
            dtype=dtype,
            blocks=self.blocks,
            residence=residence or self.residence,
            dependencies=[self],
        )

    def __matmul__(self, x: Any) -> da.Array:
        return products.multiply(self, x)

    def __rmatmul__(self, x: Any) -> da.Array:
        return from_left(x, self.T)

    def __add__(self, other: Any) -> "CSRMatrix":
        return arithmetic.combine(self, other, operator.add)

    def __sub__(self, other: Any) -> "CSRMatrix":
        return arithmetic.combine(self, other, operator.sub)

    def __mul__(self, factor: Any) -> "CSRMatrix":
        return arithmetic.scale(self, factor, operator.mul)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "CSRMatrix":
        return arithmetic.scale(self, divisor, operator.truediv)

    def __neg__(self) -> "CSRMatrix":
        return arithmetic.negate(self)

    def __getitem__(self, index: Any) -> "CSRMatrix":
        return cutting.rows_of(self, index)

    def to_dask_array(self) -> da.Array:
        """Refused: Dask's functions of dense arrays, which ask for this, would multiply blocks as if they were dense.

        Raises
        ------
        ArrayError
            Always.
        """
        raise ArrayError(f"{self!r} is no dense array: use A @ x, not a function of dask.array")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise ArrayError(
            f"{self!r} is no dense array: use A @ x for products, A.to_scipy().toarray() where it is small"
        )

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.dot and len(args) == 2 and not kwargs:
            return operator.matmul(*args)
        return NotImplemented


def of_function(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    name: str,
    shape: tuple[int, int],
    dtype: Any,
    blocks: Sequence[Block],
    residence: backend.Residence = "host",
    dependencies: Sequence[Any] = (),
) -> CSRMatrix:
    """The matrix whose block i is ``function(*arguments[i])``, made by a task of its own.

    Parameters
    ----------
    function
        Returns a block in canonical form, its columns counted from the first of its window.
    arguments
        For each block; `dask`'s task references stand for the results of tasks in `dependencies`.
    name
        What keys begin with; what follows tells functions and arguments apart.
    shape, dtype, blocks, residence
        Of the matrix, as `CSRMatrix` has them.
    dependencies
        Dask collections that `arguments` refer to.

    Examples
    --------
    >>> import scipy.sparse
    >>> def scaled_identity(factor):
    ...     return scipy.sparse.csr_array(scipy.sparse.eye_array(2) * factor)
    >>> blocks = [Block(2, (0, 2), 2), Block(2, (1, 3), 2)]
    >>> A = of_function(scaled_identity, [(1,), (5,)], name="a", shape=(4, 3), dtype=float, blocks=blocks)
    >>> A.to_scipy()[2:].toarray()
    array([[0., 5., 0.],
           [0., 0., 5.]])
    """
    full = f"{name}-{tokenize(function, arguments, shape, np.dtype(dtype).str, tuple(blocks), residence)}"
    mapping = {(full, i): Task((full, i), function, *given) for i, given in enumerate(arguments)}
    graph = HighLevelGraph.from_collections(full, MaterializedLayer(mapping), dependencies=list(dependencies))
    return CSRMatrix(graph, full, shape, dtype, blocks, residence)


def _count(block: RowBlock) -> int:
    return int(block.nnz)


def _rebuilt(
    dsk: Any,
    name: str,
    shape: tuple[int, int],
    dtype: Any,
    blocks: Sequence[Block],
    residence: backend.Residence,
    *,
    rename: Mapping[str, str] | None = None,
) -> CSRMatrix:
    return CSRMatrix(dsk, (rename or {}).get(name, name), shape, dtype, blocks, residence)


def _check_blocks(shape: tuple[int, int], blocks: Sequence[Block]) -> None:
    if not blocks or sum(block.rows for block in blocks) != shape[0]:
        rows = " + ".join(str(block.rows) for block in blocks) or "no"
        raise ArrayError(f"blocks of {rows} rows do not make up a matrix of shape {shape}: name each row once")
    for block in blocks:
        first, stop = block.columns
        if not 0 <= first <= stop <= shape[1]:
            raise ArrayError(f"a block of columns {first} to {stop} reaches out of a matrix of shape {shape}")


def _annotate(A: CSRMatrix) -> None:
    """Tell plans how large blocks are, where Dask's arrays tell it of their chunks."""
    layer = A.dask.layers.get(A.name)
    if layer is not None:
        sizes = tuple(block.nbytes(A.dtype.itemsize) for block in A.blocks)
        layer.collection_annotations = {"row_blocks_nbytes": sizes, "on_device": A.residence == "device"}
