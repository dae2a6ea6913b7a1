"""Reductions that repeat one function of two numbers: sums, products of truth, extremes."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.reduction import Box, Parts, fold

ROWS = 32
"""As many numbers are added one after the other without losing more than in pairs, and faster."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A function of NumPy's, by name, over all elements.

    Sums of inexact numbers are pairwise (N. J. Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput.
    14, 1993): along each axis at most 31 roundings lie between an element and its block's sum, and one more for each
    doubling of the number of blocks.

    Attributes
    ----------
    function
        The function.
    dtype
        Of the elements, and of what becomes of them.
    """

    function: Literal["add", "minimum", "maximum", "logical_or", "logical_and"]
    dtype: np.dtype[Any]

    @property
    def parts(self) -> int:
        """One."""
        return 1

    def empty(self) -> tuple[Any, ...]:
        """What changes nothing: the largest number for a minimum, and so on."""
        if self.function in ("add", "logical_or", "logical_and"):
            return (self.dtype.type(self.function == "logical_and"),)
        return (extreme(self.dtype, largest=self.function == "minimum"),)

    def of_block(self, values: NDArray[Any], axes: tuple[int, ...]) -> Parts:
        """By NumPy's own loops, sums pairwise along every axis."""
        if self.function == "add":
            return (pairwise_sum(values, axes),)
        return (getattr(np, self.function).reduce(values, axis=axes, keepdims=True),)

    def of_elements(self, xp: Any, values: Any, places: Any) -> Parts:
        """The elements."""
        return (values,)

    def located(self, parts: Parts, box: Box, axes: tuple[int, ...]) -> Parts:
        """The same everywhere."""
        return parts

    def merge(self, xp: Any, a: Parts, b: Parts) -> Parts:
        """The function of both."""
        return (getattr(xp, self.function)(a[0], b[0]),)


def pairwise_sum(values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Sums over `axes`, which are kept with length one; NumPy's own sums are pairwise only along contiguous axes."""
    ndim = values.ndim
    trailing = ndim
    while trailing and trailing - 1 in axes:
        trailing -= 1
    if trailing < ndim:
        flat = values.reshape(*values.shape[:trailing], -1)
        values = np.add.reduce(flat, axis=-1).reshape(values.shape[:trailing] + (1,) * (ndim - trailing))
    for axis in axes:
        if axis < trailing and values.shape[axis] <= ROWS:
            values = np.add.reduce(values, axis=axis, keepdims=True)
        elif axis < trailing:
            (values,) = fold(lambda a, b: (a[0] + b[0],), (values,), axis)
    return values


def extreme(dtype: np.dtype[Any], *, largest: bool) -> Any:
    """The largest or the smallest value of a type, infinities included."""
    if dtype.kind == "b":
        return dtype.type(largest)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return dtype.type(info.max if largest else info.min)
    infinity = np.inf if largest else -np.inf
    return dtype.type(complex(infinity, infinity) if dtype.kind == "c" else infinity)
