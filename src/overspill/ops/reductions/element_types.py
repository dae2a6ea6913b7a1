"""Element types that reductions accumulate in and return."""

import functools
import math
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

from overspill.errors import DTypeError
from overspill.kernels.expression import Expression, followed
from overspill.kernels.reduction import Parts


def requested(name: str, x: da.Array, dtype: DTypeLike | None) -> np.dtype[Any] | None:
    """The result's type that the caller asks for, if any."""
    result = None if dtype is None else np.dtype(dtype)
    if result is not None and result.kind not in "biufc":
        raise DTypeError(f"{name} is a number, not {result}: pass a numeric dtype")
    if result is not None and x.dtype.kind == "c" and result.kind != "c":
        raise DTypeError(
            f"{name} of {x.dtype} elements is complex, not {result}: pass {name}(x.real), or a complex dtype"
        )
    return result


def inexact(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """`dtype` in this machine's order of bytes, or float64 for integers and booleans."""
    return dtype.newbyteorder("=") if dtype.kind in "fc" else np.dtype(np.float64)


def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that elements are accumulated in for a result of `dtype`: 64 bits a number, or more."""
    return np.result_type(dtype, {"b": "i8", "i": "i8", "u": "u8", "f": "f8", "c": "c16"}[dtype.kind])


def cast(dtype: np.dtype[Any]) -> Callable[[Expression], Expression]:
    """What casts elements to `dtype` as they are made."""
    return functools.partial(followed, function="astype", dtype=dtype)


def count(x: da.Array, axes: tuple[int, ...]) -> int:
    """Elements that one result is made of."""
    return math.prod(x.shape[axis] for axis in axes)


def only(xp: Any, parts: Parts, dtype: np.dtype[Any]) -> Any:
    """A record's only part, of type `dtype`."""
    return parts[0].astype(dtype, copy=False)
