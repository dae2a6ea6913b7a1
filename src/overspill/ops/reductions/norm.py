"""Norms, fused with the elementwise function that makes the elements."""

import functools
import math
from typing import Any

import dask.array as da
import numpy as np

from overspill.errors import ArrayError
from overspill.kernels import squares
from overspill.kernels.expression import Expression, followed
from overspill.kernels.folds import Fold
from overspill.kernels.reduction import Parts, Reduction
from overspill.ops.reductions.element_types import inexact, only, wide
from overspill.ops.reductions.graph import Axis, checked, reduced


def norm(x: da.Array, ord: float = 2, axis: Axis = None, *, keepdims: bool = False) -> da.Array:
    """Norm of the elements as of one vector, as `numpy.linalg.vector_norm` has it.

    Fused with what makes the elements, and as accurate, as `sum` is. It overflows or underflows only where the norm
    itself is too large or too small a number.

    Parameters
    ----------
    x
        Array of booleans or numbers, or what Dask makes an array of.
    ord
        2, the root of the sum of squares; 1, the sum of magnitudes; or infinity, the largest magnitude.
    axis
        One axis or several; all by default.
    keepdims
        Whether the axes stay, with length one.

    Returns
    -------
    dask.array.Array
        Lazy, of the type of the magnitudes of `x`, or float64 for integers.

    Raises
    ------
    ArrayError
        For other norms, axes that `x` lacks, and chunks of unknown size.
    DTypeError
        For elements that are no numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> f"{osp.norm(da.from_array([3e200, 4e200], chunks=1)).compute():.3g}"
    '5e+200'
    """
    x, axes = checked("norm", x, axis)
    result = np.empty(0, inexact(x.dtype)).real.dtype
    accumulated = wide(result)
    reduction: Reduction
    steps: tuple[str, ...] = ()
    if ord == 2 and accumulated == np.float64 and x.dtype.char in "dD":
        reduction, finish = squares.Squares(), _scaled_root
    elif ord == 2:
        steps, reduction, finish = ("square",), Fold("add", accumulated), _root
    elif ord == 1:
        reduction, finish = Fold("add", accumulated), only
    elif ord == math.inf:
        reduction, finish = Fold("maximum", accumulated), _largest
    else:
        raise ArrayError(f"norm has ord=1, 2 and inf, not {ord!r}: sum abs(x)**ord, and take the root")
    return reduced(
        "norm",
        x,
        axes,
        keepdims,
        prepare=functools.partial(_magnitude, dtype=accumulated, steps=steps),
        reduction=reduction,
        result=functools.partial(finish, dtype=result),
        dtype=result,
    )


def _magnitude(expression: Expression, dtype: np.dtype[Any], steps: tuple[str, ...]) -> Expression:
    (own,) = expression.dtypes
    # Cast first: the magnitude of the smallest integer is none of its type.
    expression = followed(expression, "astype", np.result_type(own, dtype) if own.kind == "c" else dtype)
    for step in ("absolute", *steps):
        expression = followed(expression, step, dtype)
    return expression


def _largest(xp: Any, parts: Parts, dtype: np.dtype[Any]) -> Any:
    return xp.maximum(parts[0], 0).astype(dtype, copy=False)  # of no elements too


def _root(xp: Any, parts: Parts, dtype: np.dtype[Any]) -> Any:
    return xp.sqrt(parts[0]).astype(dtype, copy=False)


def _scaled_root(xp: Any, parts: Parts, dtype: np.dtype[Any]) -> Any:
    return squares.root(xp, parts).astype(dtype, copy=False)
