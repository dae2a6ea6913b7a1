"""Variances and standard deviations, fused with the elementwise function that makes the elements."""

import functools
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

from overspill.errors import DTypeError
from overspill.kernels.moments import Moments
from overspill.kernels.reduction import Parts
from overspill.ops.reductions.element_types import cast, count, inexact, wide
from overspill.ops.reductions.graph import Axis, checked, reduced


def var(
    x: da.Array, axis: Axis = None, *, dtype: DTypeLike | None = None, ddof: float = 0, keepdims: bool = False
) -> da.Array:
    """Variance.

    Fused with what makes the elements, as `sum` is, in one pass: blocks know their means, and are merged in pairs by
    the formulas of Chan, Golub and LeVeque (1983).

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of.
    axis
        One axis or several; all by default.
    dtype
        Type of the result; by default that of the parts of `x`, or float64 for integers.
    ddof
        The squares' sum is divided by the number of elements less this.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy. Its relative error is at most ``64 * eps * sqrt(1 + abs(mean)**2 / var)`` with ``eps = 2**-52``, for up to
        ``2**40`` elements, before it is rounded to `dtype`.

    Raises
    ------
    ArrayError
        For axes that `x` lacks, and chunks of unknown size.
    DTypeError
        For elements that are no numbers, and a `dtype` that is not real.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.var(1e9 + da.arange(1000, chunks=100)).compute()
    np.float64(83333.25)
    """
    return _spread("var", _variance, x, axis, dtype, ddof, keepdims)


def std(
    x: da.Array, axis: Axis = None, *, dtype: DTypeLike | None = None, ddof: float = 0, keepdims: bool = False
) -> da.Array:
    """Standard deviation: the root of `var`, which see.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of.
    axis
        One axis or several; all by default.
    dtype
        Type of the result; by default that of the parts of `x`, or float64 for integers.
    ddof
        The squares' sum is divided by the number of elements less this.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy.

    Raises
    ------
    ArrayError
        For axes that `x` lacks, and chunks of unknown size.
    DTypeError
        For elements that are no numbers, and a `dtype` that is not real.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.std(da.from_array([[1, 3], [2, 6]], chunks=1), axis=1).compute()
    array([1., 2.])
    """
    return _spread("std", _deviation, x, axis, dtype, ddof, keepdims)


def _spread(
    name: str,
    result: Callable[..., Any],
    x: Any,
    axis: Axis,
    dtype: DTypeLike | None,
    ddof: float,
    keepdims: bool,
) -> da.Array:
    x, axes = checked(name, x, axis)
    if dtype is not None and np.dtype(dtype).kind not in "biuf":
        raise DTypeError(f"{name} is real: pass a real dtype, not {np.dtype(dtype)}")
    own = np.dtype(dtype) if dtype is not None else np.empty(0, inexact(x.dtype)).real.dtype
    accumulated = wide(np.result_type(inexact(x.dtype), own, np.float16))
    return reduced(
        name,
        x,
        axes,
        keepdims,
        prepare=cast(accumulated),
        reduction=Moments(accumulated),
        result=functools.partial(result, number=count(x, axes) - ddof, dtype=own),
        dtype=own,
    )


def _variance(xp: Any, parts: Parts, number: float, dtype: np.dtype[Any]) -> Any:
    squares = xp.real(parts[2])
    return xp.true_divide(squares, squares.dtype.type(max(number, 0))).astype(dtype, copy=False)


def _deviation(xp: Any, parts: Parts, number: float, dtype: np.dtype[Any]) -> Any:
    return xp.sqrt(_variance(xp, parts, number, xp.real(parts[2]).dtype)).astype(dtype, copy=False)
