"""The sparse matrix: what can be done with row blocks of CSR, lazily and where they lie."""

import operator
import os
from typing import Any

import dask.array as da
import numpy as np
from scipy.sparse import csr_array

from overspill.errors import ArrayError
from overspill.sparse import arithmetic, cutting, products, residence
from overspill.sparse.block import Block
from overspill.sparse.collection import RowBlocks
from overspill.sparse.tasks import of_function
from overspill.sparse.transposed import Transposed, from_left

__all__ = ["Block", "CSRMatrix", "of_function"]


class CSRMatrix(RowBlocks):
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

    @classmethod
    def from_scipy(cls, A: Any, blocks: int | None = None) -> "CSRMatrix":
        """See `overspill.sparse.from_scipy`."""
        from overspill.sparse.from_memory import from_scipy

        return from_scipy(A, blocks)

    @classmethod
    def from_coo(
        cls, rows: Any, columns: Any, values: Any, shape: tuple[int, int], blocks: int | None = None
    ) -> "CSRMatrix":
        """See `overspill.sparse.from_coo`."""
        from overspill.sparse.from_triplets import from_coo

        return from_coo(rows, columns, values, shape, blocks)

    @classmethod
    def from_matrix_market(
        cls, path: str | os.PathLike[str], *, blocks: int | None = None, dtype: Any = None
    ) -> "CSRMatrix":
        """See `overspill.sparse.from_matrix_market`."""
        from overspill.sparse.files import from_matrix_market

        return from_matrix_market(path, blocks=blocks, dtype=dtype)

    @classmethod
    def from_npz(cls, path: str | os.PathLike[str], *, blocks: int | None = None) -> "CSRMatrix":
        """See `overspill.sparse.from_npz`."""
        from overspill.sparse.files import from_npz

        return from_npz(path, blocks=blocks)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "CSRMatrix":
        """See `overspill.sparse.open`."""
        from overspill.sparse.stored import open

        return open(path)

    @property
    def T(self) -> Transposed:
        """The transpose, a view: ``A.T @ x`` needs no transposed copy."""
        return Transposed(self)

    @property
    def H(self) -> Transposed:
        """The conjugate transpose, a view."""
        return Transposed(self, conjugated=True)

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
        """The same with its blocks on GPUs; itself where there are none.

        Persist it if it fits there. If not, each product brings it up block by block, while others are multiplied.
        """
        return residence.to_device(self)

    def to_host(self) -> "CSRMatrix":
        """The same with its blocks in tiles: host memory that GPUs reach at full speed."""
        return residence.to_host(self)

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
        on_host = self.to_host() if self.residence == "device" else self
        return on_host.compute(limit=limit)

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
