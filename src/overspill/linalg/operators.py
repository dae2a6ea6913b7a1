"""What solvers take for a matrix: whatever has a shape and multiplies vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from scipy.sparse import issparse

from overspill import backend
from overspill.errors import ArrayError
from overspill.linalg.space import Operator
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.transposed import Transposed


class LinearOperator:
    """A matrix known by its products alone.

    Parameters
    ----------
    shape
        Rows and columns.
    matvec
        ``A @ x`` of a vector of shape (columns,), which is what the solver was given for `b`: NumPy, CuPy or Dask. Its
        result is a new array of shape (rows,).
    rmatvec
        ``A.conj().T @ y`` likewise, if it is known.
    dtype
        Element type; None for that of the vectors.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = osp.linalg.LinearOperator((3, 3), matvec=lambda x: 2 * x)
    >>> osp.linalg.cg(A, np.ones(3))
    (array([0.5, 0.5, 0.5]), 0)
    """

    def __init__(
        self,
        shape: tuple[int, int],
        matvec: Callable[[Any], Any],
        rmatvec: Callable[[Any], Any] | None = None,
        dtype: Any = None,
    ) -> None:
        if len(shape) != 2 or min(shape) < 0:
            raise ArrayError(f"a linear operator has a number of rows and one of columns, not shape {shape}")
        self.shape = (int(shape[0]), int(shape[1]))
        self.dtype = None if dtype is None else np.dtype(dtype)
        self._matvec = matvec
        self._rmatvec = rmatvec

    ndim = 2

    def matvec(self, x: Any) -> Any:
        """``A @ x`` of a vector."""
        return _checked(self._matvec(x), x, self.shape, "matvec")

    def rmatvec(self, y: Any) -> Any:
        """``A.conj().T @ y`` of a vector."""
        if self._rmatvec is None:
            raise ArrayError("this linear operator knows no adjoint: give it rmatvec=")
        return _checked(self._rmatvec(y), y, self.shape[::-1], "rmatvec")

    @property
    def H(self) -> "LinearOperator":
        """The adjoint."""
        return LinearOperator(self.shape[::-1], self.rmatvec, self.matvec, self.dtype)

    def __matmul__(self, x: Any) -> Any:
        """``A @ x`` of a vector, or of each column of a block of shape (columns, k)."""
        if x.ndim == 1:
            return self.matvec(x)
        if isinstance(x, da.Array):
            return da.stack([self.matvec(x[:, k]) for k in range(x.shape[1])], axis=1).rechunk({1: -1})
        xp: Any = backend.array_namespace(x)
        return xp.stack([self.matvec(x[:, k]) for k in range(x.shape[1])], axis=1)

    __call__ = __matmul__


@dataclass(frozen=True, slots=True)
class Product:
    """The operator ``A @ x``, its results checked and, where they are Dask arrays, cut as `x` is."""

    A: Any

    def __call__(self, x: Any) -> Any:
        """The product."""
        y = self.A @ x if hasattr(self.A, "__matmul__") else self.A(x)
        y = _checked(1 * x if y is x else y, x, self.A.shape, "the operator")
        if isinstance(y, da.Array) and self.A.shape[0] == self.A.shape[1] and y.chunks[0] != x.chunks[0]:
            y = y.rechunk({0: x.chunks[0]})
        return y


def identity(x: Any) -> Any:
    """The operator that does nothing."""
    return x


def as_operator(A: Any) -> Operator:
    """The product with `A`, which has a shape and is square; None is the identity."""
    return identity if A is None else Product(A)


def is_lazy(A: Any) -> bool:
    """Whether `A` is a Dask array, or makes one of whatever it multiplies."""
    return isinstance(A, CSRMatrix | Transposed | da.Array)


def lies_on_device(A: Any) -> bool:
    """Whether a matrix in memory is in a GPU's."""
    return backend.is_device_array(A) or backend.is_device_array(getattr(A, "data", None))


def shape_of(name: str, A: Any) -> tuple[int, int]:
    """The shape of what can be multiplied with vectors; one sentence for everything else."""
    shape = getattr(A, "shape", None)
    able = issparse(A) or hasattr(A, "__matmul__") or callable(A)
    if not isinstance(shape, tuple) or len(shape) != 2 or not able:
        what = type(A).__name__ if shape is None else f"{type(A).__name__} of shape {shape}"
        raise ArrayError(
            f"{name} is no matrix but a {what}: pass an overspill.sparse.CSRMatrix, a SciPy matrix, an array of two "
            f"dimensions or an overspill.linalg.LinearOperator"
        )
    return int(shape[0]), int(shape[1])


def _checked(y: Any, x: Any, shape: tuple[int, int], what: str) -> Any:
    if isinstance(y, da.Array) != isinstance(x, da.Array):
        raise ArrayError(
            f"{what} makes a {type(y).__module__}.{type(y).__name__} of a {type(x).__module__}.{type(x).__name__}: "
            f"pass b as what the operator makes, with dask.array.asarray(b) or b.compute()"
        )
    if y.shape != (shape[0], *x.shape[1:]):
        raise ArrayError(f"{what} of shape {shape} makes shape {y.shape} of a vector of shape {x.shape}: mend matvec=")
    return y
