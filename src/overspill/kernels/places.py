"""The extreme element and where it is first found."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.folds import extreme
from overspill.kernels.reduction import Box, Parts

NOWHERE = 2**62
"""The place of what is in no array."""


@dataclass(frozen=True, slots=True)
class Place:
    """An extreme and its place, the first in C order; what is not a number is beyond all numbers, as NumPy has it.

    Attributes
    ----------
    function
        Which extreme.
    dtype
        Of records: one that holds the elements, which may be narrower, exactly, and places below 2**53.
    """

    function: Literal["minimum", "maximum"]
    dtype: np.dtype[Any]

    @property
    def parts(self) -> int:
        """Two."""
        return 2

    def empty(self) -> tuple[Any, ...]:
        """What any element comes before."""
        return extreme(self.dtype, largest=self.function == "minimum"), NOWHERE

    def of_block(self, values: NDArray[Any], axes: tuple[int, ...]) -> Parts:
        """By NumPy's own search."""
        find = np.argmin if self.function == "minimum" else np.argmax
        if len(axes) < values.ndim:
            places = find(values, axis=axes[0], keepdims=True)
            return np.take_along_axis(values, places, axes[0]), places
        flat, kept = values.reshape(-1), (1,) * values.ndim
        place = find(flat)
        return flat[place].reshape(kept), place.reshape(kept)

    def of_elements(self, xp: Any, values: Any, places: Any) -> Parts:
        """Each where it is."""
        return values, places

    def located(self, parts: Parts, box: Box, axes: tuple[int, ...]) -> Parts:
        """With places counted in the whole array."""
        value, rest = parts
        places, stride = 0, 1
        for axis in reversed(axes):
            places = places + (rest % box.shape[axis] + box.start[axis]) * stride
            rest = rest // box.shape[axis]
            stride *= box.whole[axis]
        return value, places

    def merge(self, xp: Any, a: Parts, b: Parts) -> Parts:
        """The more extreme one, or of equals the first."""
        (value_a, place_a), (value_b, place_b) = a, b
        unknown_a, unknown_b = value_a != value_a, value_b != value_b
        with np.errstate(invalid="ignore"):  # NumPy warns of complex numbers that are none
            beyond = value_b < value_a if self.function == "minimum" else value_b > value_a
        equal = (value_a == value_b) | (unknown_a & unknown_b)
        second = (~unknown_a & (beyond | unknown_b)) | (equal & (place_b < place_a))
        return xp.where(second, value_b, value_a), xp.where(second, place_b, place_a)
