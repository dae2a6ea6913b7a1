"""What an elementwise function was made of, noted on its result for what follows to be fused with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da

from overspill import backend
from overspill.kernels.expression import Expression, identity

ATTRIBUTE = "_overspill_origin"
"""Where the note is: on the array object, so that slices, copies and pickles of it are without."""


@dataclass(frozen=True, slots=True)
class Origin:
    """An array's elements in terms of other arrays.

    Attributes
    ----------
    name
        Of the array when this was noted: arrays that are assigned to take other names.
    expression
        The elements, of a single output.
    arrays
        Inputs of the expression, of shapes that broadcast to the array's: copies of those that were passed, which may
        be assigned to.
    """

    name: str
    expression: Expression
    arrays: tuple[da.Array, ...]


def note(x: da.Array, expression: Expression, number: int, arrays: Sequence[da.Array]) -> None:
    """Note that `x` is the output of that `number` of `expression`."""
    only = Expression(expression.inputs, expression.calls, (expression.outputs[number],), single=True)
    setattr(x, ATTRIBUTE, Origin(x.name, only, tuple(y.copy() for y in arrays)))


def origin_of(x: da.Array) -> Origin:
    """What is noted on `x`, or that it is made of itself."""
    noted: Origin | None = getattr(x, ATTRIBUTE, None)
    if noted is not None and noted.name == x.name and not any(math.isnan(y.size) for y in noted.arrays):
        return noted
    return Origin(x.name, identity(x.dtype.newbyteorder("=")), (x,))


def aligned(x: da.Array, origin: Origin) -> tuple[list[da.Array], backend.Residence]:
    """The arrays that `x` is made of, cut as `x` is, and where their chunks meet."""
    pairs: list[Any] = []
    for y in origin.arrays:
        pairs += [y, range(x.ndim - y.ndim, x.ndim)]
    arrays: list[da.Array] = da.unify_chunks(*pairs)[1]
    on_device = any(backend.residence_of(y._meta) == "device" for y in (x, *arrays))
    return arrays, "device" if on_device else "host"
