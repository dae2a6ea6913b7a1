"""Smallest and largest elements and their places, fused with the elementwise function that makes the elements."""

import functools
from typing import Any, Literal

import dask.array as da
import numpy as np

from overspill.errors import ArrayError
from overspill.kernels.folds import Fold
from overspill.kernels.places import Place
from overspill.kernels.reduction import Parts
from overspill.ops.reductions.element_types import cast, only, wide
from overspill.ops.reductions.graph import Axis, check_elements, checked, reduced


def min(x: da.Array, axis: Axis = None, *, keepdims: bool = False) -> da.Array:
    """Smallest element.

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
        Lazy, of the type of `x`. Not a number, where one of the elements is none; complex numbers are compared by their
        real parts, and then by their imaginary ones.

    Raises
    ------
    ArrayError
        For axes that `x` lacks or which are empty, and chunks of unknown size.
    DTypeError
        For elements that are no numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.min(da.from_array([[4, 2], [1, 3]], chunks=1), axis=0).compute()
    array([1, 2])
    """
    return _extreme("min", "minimum", x, axis, keepdims)


def max(x: da.Array, axis: Axis = None, *, keepdims: bool = False) -> da.Array:
    """Largest element.

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
        Lazy, of the type of `x`. Not a number, where one of the elements is none; complex numbers are compared by their
        real parts, and then by their imaginary ones.

    Raises
    ------
    ArrayError
        For axes that `x` lacks or which are empty, and chunks of unknown size.
    DTypeError
        For elements that are no numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.max(da.from_array([[4, 2], [1, 3]], chunks=1), axis=0).compute()
    array([4, 3])
    """
    return _extreme("max", "maximum", x, axis, keepdims)


def argmin(x: da.Array, axis: int | None = None, *, keepdims: bool = False) -> da.Array:
    """Place of the smallest element, the first in C order if there are several.

    Fused with what makes the elements, as `sum` is. What is not a number counts as smaller than all numbers.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of, of less than ``2**53`` elements.
    axis
        One axis; by default all elements in one row.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy, of int64.

    Raises
    ------
    ArrayError
        For axes that `x` lacks or which are empty, and chunks of unknown size.
    DTypeError
        For elements that are no numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.argmin(da.from_array([[4, 2], [1, 3]], chunks=1)).compute()
    np.int64(2)
    """
    return _place("argmin", "minimum", x, axis, keepdims)


def argmax(x: da.Array, axis: int | None = None, *, keepdims: bool = False) -> da.Array:
    """Place of the largest element, the first in C order if there are several.

    Fused with what makes the elements, as `sum` is. What is not a number counts as larger than all numbers.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of, of less than ``2**53`` elements.
    axis
        One axis; by default all elements in one row.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy, of int64.

    Raises
    ------
    ArrayError
        For axes that `x` lacks or which are empty, and chunks of unknown size.
    DTypeError
        For elements that are no numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> osp.argmax(da.from_array([[4, 2], [1, 3]], chunks=1), axis=1).compute()
    array([0, 1])
    """
    return _place("argmax", "maximum", x, axis, keepdims)


def _extreme(name: str, function: Literal["minimum", "maximum"], x: Any, axis: Axis, keepdims: bool) -> da.Array:
    x, axes = checked(name, x, axis)
    check_elements(name, x, axes)
    dtype = x.dtype.newbyteorder("=")
    return reduced(
        name,
        x,
        axes,
        keepdims,
        prepare=cast(dtype),
        reduction=Fold(function, dtype),
        result=functools.partial(only, dtype=dtype),
        dtype=dtype,
    )


def _place(name: str, function: Literal["minimum", "maximum"], x: Any, axis: Any, keepdims: bool) -> da.Array:
    x, axes = checked(name, x, axis)
    if len(axes) != 1 and axis is not None:
        raise ArrayError(f"{name} takes one axis, or None for all, not {axis!r}: reshape the array first")
    check_elements(name, x, axes)
    return reduced(
        name,
        x,
        axes,
        keepdims,
        prepare=cast(x.dtype.newbyteorder("=")),
        reduction=Place(function, wide(x.dtype)),
        result=_place_of,
        dtype=np.dtype(np.int64),
    )


def _place_of(xp: Any, parts: Parts) -> Any:
    return xp.real(parts[1]).astype(np.int64)
