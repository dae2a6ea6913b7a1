"""What solvers of linear systems accept, and one sentence for everything else."""

import math
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from scipy.sparse import issparse

from overspill import backend
from overspill.errors import ArrayError, DTypeError, UsageError
from overspill.linalg.operators import as_operator, is_lazy, lies_on_device, shape_of
from overspill.linalg.spreading import spread
from overspill.memory import link
from overspill.ops.residence import to_device, to_host
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.transposed import Transposed


@dataclass(frozen=True, slots=True)
class System:
    """A linear system ready to be solved.

    Attributes
    ----------
    A, M
        Matrix, and preconditioner or None.
    b, x
        Right hand side and first guess, of shape (n,) and one dtype: both Dask arrays cut alike, or both in memory. `x`
        is the solver's to overwrite.
    given
        The right hand side as the caller gave it.
    """

    A: Any
    M: Any
    b: Any
    x: Any
    given: Any

    def returned(self, x: Any) -> Any:
        """A solution as the caller gave the right hand side: NumPy, CuPy or Dask."""
        return as_given(x, self.given)


def system(A: Any, b: Any, x0: Any = None, M: Any = None) -> System:
    """Check and prepare ``A x = b``, as SciPy's solvers take it.

    Raises
    ------
    ArrayError
        For shapes that do not match and chunks of unknown size.
    DTypeError
        For elements that are no numbers.
    """
    rows, columns = shape_of("A", A)
    if rows != columns:
        raise ArrayError(f"A has shape {(rows, columns)}, which is not square: use a least-squares solver")
    if M is not None and shape_of("M", M) != (rows, rows):
        raise ArrayError(f"the preconditioner M has shape {M.shape}, but A has shape {(rows, rows)}: pass one of A's")
    given = b = _vector("b", b, rows)
    guess = None if x0 is None or isinstance(x0, str) else _vector("x0", x0, rows)
    dtype = common_dtype(*(x for x in (A, b, guess, M) if x is not None))
    lazy = any(is_lazy(operand) for operand in (A, M, b, guess))
    if lazy and issparse(A):
        A = CSRMatrix.from_scipy(A)
    elif lazy and isinstance(A, np.ndarray):
        A = da.asarray(A)
    elif not lazy and (issparse(A) or isinstance(A, np.ndarray)) and backend.is_device_array(b):
        raise ArrayError("b lies on a GPU, and A on the host: pass b.get(), or move A")
    elif not lazy and lies_on_device(A) and not backend.is_device_array(b):
        raise ArrayError("A lies on a GPU, and b on the host: pass b as a CuPy array, or move A")
    chunks = chunks_for(A, b) if lazy else None
    b = as_vector(b, dtype, chunks, A)
    if isinstance(x0, str):
        if x0 != "Mb":
            raise UsageError(f"x0={x0!r} is no first guess: pass an array, None for zeros, or 'Mb' for M @ b")
        guess = as_operator(M)(b)
    x = np.zeros_like(b) if guess is None else as_vector(1 * guess, dtype, chunks, A)
    return System(A, M, b, x, given)


def common_dtype(*operands: Any) -> np.dtype[Any]:
    """The inexact element type that products and sums of `operands` have: single or double precision."""
    dtypes = [np.dtype(x.dtype) for x in operands if getattr(x, "dtype", None) is not None]
    for dtype in dtypes:
        if dtype.kind not in "biufc":
            raise DTypeError(f"solvers cannot take elements of type {dtype}: cast with .astype() to a numeric type")
    dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.float64)
    if dtype.char in "fdFD":
        return dtype
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def chunks_for(A: Any, b: Any) -> tuple[int, ...]:
    """How vectors are cut that are multiplied with `A`: as its rows are, else as `b` is."""
    if isinstance(A, CSRMatrix):
        return A.row_chunks
    if isinstance(A, Transposed):
        return A.matrix.row_chunks
    if isinstance(A, da.Array):
        chunks: tuple[int, ...] = A.chunks[0]
        if any(math.isnan(size) for axis in A.chunks for size in axis):
            raise ArrayError("A has chunks of unknown size: call A.compute_chunk_sizes() first")
        return chunks
    chunks = da.asarray(b).chunks[0]
    return chunks


def as_vector(x: Any, dtype: np.dtype[Any], chunks: tuple[int, ...] | None, A: Any) -> Any:
    """`x` of `dtype`: with `chunks` of rows a Dask array cut so, where the blocks of `A` lie; else in memory."""
    if chunks is None:
        return x.astype(dtype, copy=False)
    if not isinstance(x, da.Array):
        x = spread(x, chunks)
    x = x.rechunk({0: chunks}).astype(dtype)
    residence = getattr(getattr(A, "matrix", A), "residence", None)
    if residence == "device":
        return to_device(x)
    return to_host(x) if residence == "host" and backend.residence_of(x._meta) == "device" else x


def as_given(x: Any, given: Any) -> Any:
    """`x` as an array of the kind that `given` is: Dask, NumPy or CuPy."""
    if isinstance(given, da.Array):
        return x
    x = x.compute() if isinstance(x, da.Array) else x
    return link.to_device(x) if backend.is_device_array(given) else backend.to_numpy(x)


def _vector(name: str, x: Any, rows: int) -> Any:
    if not isinstance(x, da.Array) and not backend.is_device_array(x):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise ArrayError(f"{name} is no array ({error}): pass one of shape ({rows},)") from None
    if x.shape not in ((rows,), (rows, 1)):
        raise ArrayError(f"{name} has shape {x.shape}, but A has {rows} rows: pass shape ({rows},) or ({rows}, 1)")
    return x.reshape(rows)
