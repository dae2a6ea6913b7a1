"""What sparse products accept, and one sentence for everything else."""

import math
from typing import Any, Literal, Protocol

import dask.array as da
import numpy as np

from overspill import backend
from overspill.errors import ArrayError, DTypeError

SUPPORTED = ("float32", "float64", "complex64", "complex128")
"""Element types of sparse matrices and of their products."""


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """`dtype` itself, if sparse matrices may have it."""
    found = np.dtype(dtype)
    if found.name not in SUPPORTED:
        raise DTypeError(
            f"a CSRMatrix cannot hold elements of type {found}: cast with A.astype() to one of {', '.join(SUPPORTED)}"
        )
    native: np.dtype[Any] = found.newbyteorder("=")
    return native


class Matrix(Protocol):
    """What operands are checked against."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""


def as_operand(A: Matrix, x: Any, axis: Literal["rows", "columns"]) -> tuple[da.Array, np.dtype[Any]]:
    """`x` as an array that the rows or columns of `A` multiply, and the product's element type.

    Raises
    ------
    ArrayError
        If it is no vector or matrix of as many rows, or has chunks of unknown size.
    DTypeError
        If its elements cannot be multiplied.
    """
    length = A.shape[axis == "columns"]
    array = _as_array(x)
    if array.ndim not in (1, 2) or array.shape[0] != length:
        if array.ndim in (1, 2) and math.isnan(array.shape[0]):
            raise ArrayError("x has chunks of unknown size: call x.compute_chunk_sizes() first")
        raise ArrayError(
            f"shapes do not match: A of shape {A.shape} has {length} {axis}, and x has shape {array.shape}: pass a "
            f"vector ({length},) or a matrix ({length}, k)"
        )
    if any(math.isnan(size) for sizes in array.chunks for size in sizes):
        raise ArrayError("x has chunks of unknown size: call x.compute_chunk_sizes() first")
    if not (type(array._meta) is np.ndarray or backend.is_device_array(array._meta)):
        raise ArrayError(
            f"sparse products take chunks of numpy.ndarray or cupy.ndarray, not of {type(array._meta).__name__}: "
            f"convert them with x.map_blocks() first"
        )
    dtype = np.result_type(A.dtype, array.dtype) if array.dtype.kind in "biufc" else None
    if dtype is None or dtype.name not in SUPPORTED:
        raise DTypeError(
            f"A of {A.dtype} cannot be multiplied with elements of type {array.dtype}: cast with x.astype() to one of "
            f"{', '.join(SUPPORTED)}"
        )
    kept = array.dtype.newbyteorder("=") if array.dtype.name in SUPPORTED else dtype
    return array.astype(kept), dtype


def _as_array(x: Any) -> da.Array:
    if isinstance(x, da.Array):
        return x
    if not hasattr(x, "dtype"):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise ArrayError(f"x is no array ({error}): pass nested lists of equal lengths") from None
    if getattr(x, "__array_ufunc__", None) is None:  # as NumPy's and CuPy's arrays have it, and no sparse matrix
        raise ArrayError(
            f"A @ x takes dense vectors and matrices, not {type(x).__name__}: sparse ones have no product here yet"
        )
    if x.dtype.kind not in "biufc":
        raise DTypeError(
            f"elements of type {x.dtype} cannot be multiplied: cast with x.astype() to one of {', '.join(SUPPORTED)}"
        )
    array: da.Array = da.asarray(x)
    return array
