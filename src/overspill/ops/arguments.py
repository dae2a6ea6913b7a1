"""What `matmul` accepts, and one sentence for everything else."""

import math
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks

from overspill import backend
from overspill.errors import ArrayError, DTypeError
from overspill.planning.arithmetic import SUPPORTED
from overspill.planning.operands import Chunks


def as_array(x: Any) -> da.Array:
    """`x` itself if it is a Dask array, else what Dask makes of it."""
    if not isinstance(x, da.Array) and not hasattr(x, "dask"):
        try:
            x = x if hasattr(x, "dtype") else np.asarray(x)
        except ValueError as error:
            raise ArrayError(f"an operand is no array ({error}): pass nested lists of equal lengths") from None
        _check_dtype(x.dtype)  # Dask refuses objects in words of its own
    array: da.Array = da.asarray(x)
    return array


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.name not in SUPPORTED:
        raise DTypeError(
            f"matmul cannot multiply elements of type {dtype}: cast with x.astype() to one of {', '.join(SUPPORTED)}"
        )


def common_dtype(a: da.Array, b: da.Array) -> np.dtype[Any]:
    """The element type that products of elements of `a` and `b` have."""
    for x in (a, b):
        _check_dtype(x.dtype)
    return np.result_type(a.dtype, b.dtype)


def check_matrices(a: da.Array, b: da.Array) -> None:
    """Refuse what is no pair of dense matrices or vectors of matching shapes."""
    for name, x in (("a", a), ("b", b)):
        if x.ndim not in (1, 2):
            raise ArrayError(
                f"matmul takes matrices and vectors; {name} has {x.ndim} dimensions: pick or reshape them first"
            )
        if not (type(x._meta) is np.ndarray or backend.is_device_array(x._meta)):
            raise ArrayError(
                f"matmul takes chunks of numpy.ndarray or cupy.ndarray; {name} has {type(x._meta).__name__}: convert "
                f"them with {name}.map_blocks() first"
            )
        if any(math.isnan(size) for axis in x.chunks for size in axis):
            raise ArrayError(f"{name} has chunks of unknown size: call {name}.compute_chunk_sizes() first")
    if a.shape[-1] != b.shape[0]:
        raise ArrayError(
            f"shapes {a.shape} and {b.shape} do not match: a has {a.shape[-1]} columns and b has {b.shape[0]} rows"
        )


def tile_sizes(chunks: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> tuple[Chunks, Chunks]:
    """Sizes of the result's tiles, from `chunks` as Dask takes them."""
    try:
        rows, columns = normalize_chunks(chunks, shape, dtype=dtype)
        if min(*rows, *columns) < 0:
            raise ValueError("sizes must not be negative")
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ArrayError(f"chunks={chunks!r} cannot cut a result of shape {shape}: {error}") from None
    return tuple(size for size in rows if size) or (0,), tuple(size for size in columns if size) or (0,)
