"""Whether any or all elements are true, fused with the elementwise function that makes them."""

import functools
from typing import Any, Literal

import dask.array as da
import numpy as np

from overspill.kernels.expression import Expression, followed
from overspill.kernels.folds import Fold
from overspill.ops.reductions.element_types import only
from overspill.ops.reductions.graph import Axis, checked, reduced

TRUTH = np.dtype(bool)


def any(x: da.Array, axis: Axis = None, *, keepdims: bool = False) -> da.Array:
    """Whether any element is true, or other than zero.

    Fused with what makes the elements, as `sum` is.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of.
    axis
        One axis or several; all by default.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy, of booleans; of no elements False.

    Raises
    ------
    ArrayError
        For axes that `x` lacks, and chunks of unknown size.
    DTypeError
        For elements that are no numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.any(da.from_array([[4, 0], [0, 0]], chunks=1), axis=1).compute()
    array([ True, False])
    """
    return _truth("any", "logical_or", x, axis, keepdims)


def all(x: da.Array, axis: Axis = None, *, keepdims: bool = False) -> da.Array:
    """Whether all elements are true, or other than zero.

    Fused with what makes the elements, as `sum` is.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of.
    axis
        One axis or several; all by default.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy, of booleans; of no elements True.

    Raises
    ------
    ArrayError
        For axes that `x` lacks, and chunks of unknown size.
    DTypeError
        For elements that are no numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import overspill as osp
    >>> finite = osp.elementwise(np.isfinite)
    >>> osp.all(finite(da.ones(100, chunks=10))).compute()
    np.True_
    """
    return _truth("all", "logical_and", x, axis, keepdims)


def _truth(name: str, function: Literal["logical_or", "logical_and"], x: Any, axis: Axis, keepdims: bool) -> da.Array:
    x, axes = checked(name, x, axis)
    return reduced(
        name,
        x,
        axes,
        keepdims,
        prepare=_as_truth,
        reduction=Fold(function, TRUTH),
        result=functools.partial(only, dtype=TRUTH),
        dtype=TRUTH,
    )


def _as_truth(expression: Expression) -> Expression:
    (dtype,) = expression.dtypes
    return expression if dtype == TRUTH else followed(expression, "not_equal", TRUTH, dtype.type(0))
