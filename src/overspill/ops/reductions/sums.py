"""Sums and means, fused with the elementwise function that makes what they add up."""

import functools
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

from overspill.kernels.folds import Fold
from overspill.kernels.reduction import Parts
from overspill.ops.reductions.element_types import cast, count, inexact, only, requested, wide
from overspill.ops.reductions.graph import Axis, checked, reduced
from overspill.ops.reductions.truth import any


def sum(x: da.Array, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> da.Array:
    """Sum of elements.

    What an `elementwise` function returned is not made first: its elements are computed and summed in one pass over
    each chunk of what it was given.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of.
    axis
        One axis or several; all by default.
    dtype
        Type of the result; NumPy's by default, which is a 64-bit one for smaller integers.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy. Integers wrap as NumPy's do. Others are summed pairwise in float64 or complex128, or wider: the error is
        at most ``64 * eps * sum(abs(x))`` with ``eps = 2**-52``, for up to ``2**40`` elements, before the sum is
        rounded to `dtype`. The result is the same on any number of workers; other chunks may change its last bits.

    Raises
    ------
    ArrayError
        For axes that `x` lacks, and chunks of unknown size.
    DTypeError
        For elements or a `dtype` that are no numbers, and a real `dtype` for complex ones.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> float(osp.sum(da.full(1000, 0.1, dtype="f4", chunks=100)).compute())
    100.0
    """
    x, axes = checked("sum", x, axis)
    result = requested("sum", x, dtype) or np.add.reduce(np.empty(0, x.dtype)).dtype
    if result.kind == "b":  # in truth values, of which a fraction is one, and nothing wraps round
        return any(x, axes, keepdims=keepdims)
    accumulated = wide(result)
    return reduced(
        "sum",
        x,
        axes,
        keepdims,
        prepare=cast(accumulated),
        reduction=Fold("add", accumulated),
        result=functools.partial(only, dtype=result),
        dtype=result,
    )


def mean(x: da.Array, axis: Axis = None, *, dtype: DTypeLike | None = None, keepdims: bool = False) -> da.Array:
    """Arithmetic mean.

    Fused with what makes the elements, and as accurate, as `sum` is; of no elements it is not a number.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of.
    axis
        One axis or several; all by default.
    dtype
        Type of the result; by default that of `x`, or float64 for integers.
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
        For elements or a `dtype` that are no numbers, and a real `dtype` for complex ones.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import overspill as osp
    >>> wave = osp.elementwise(lambda x: np.sin(x) ** 2 + np.cos(x) ** 2)
    >>> osp.mean(wave(da.arange(1000, chunks=100))).compute().round(9)
    np.float64(1.0)
    """
    x, axes = checked("mean", x, axis)
    result = requested("mean", x, dtype) or inexact(x.dtype)
    accumulated = wide(np.result_type(result, np.float16))
    return reduced(
        "mean",
        x,
        axes,
        keepdims,
        prepare=cast(accumulated),
        reduction=Fold("add", accumulated),
        result=functools.partial(_ratio, number=count(x, axes), dtype=result),
        dtype=result,
    )


def _ratio(xp: Any, parts: Parts, number: int, dtype: np.dtype[Any]) -> Any:
    return xp.true_divide(parts[0], number).astype(dtype, copy=False)
