"""A function of chunks made of a function of arrays: an expression if it can be one, else the function as it is."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.utils import funcname

from overspill import backend
from overspill.errors import ArrayError, FusionWarning
from overspill.kernels import fused_numpy
from overspill.kernels.expression import Expression, NotFusableError, trace

SAMPLE = 7
"""Elements on which a function that cannot be fused has to show that it is elementwise."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments, of which those at `places` are arrays, to be put in where None stands."""

    function: Callable[..., Any]
    given: tuple[Any, ...]
    places: tuple[int, ...]
    names: tuple[str, ...]

    def split(self, arrays: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments by position and by name, with `arrays` where they belong."""
        values = list(self.given)
        for place, x in zip(self.places, arrays, strict=True):
            values[place] = x
        first_named = len(values) - len(self.names)
        return values[:first_named], dict(zip(self.names, values[first_named:], strict=True))


@dataclass(frozen=True, slots=True)
class Fused:
    """An expression as a function of chunks."""

    expression: Expression
    name: str

    @property
    def single(self) -> bool:
        """Whether it has one result, not a tuple of them."""
        return self.expression.single

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """Element types of the results."""
        return self.expression.dtypes

    def __call__(self, *chunks: Any) -> Any:
        """What the function returns for `chunks`."""
        if any(backend.is_device_array(x) for x in chunks):
            from overspill.kernels import fused_cuda

            results = fused_cuda.evaluate(self.expression, [backend.to_device(x) for x in chunks])
        else:
            results = fused_numpy.evaluate(self.expression, chunks)
        return results[0] if self.single else results


@dataclass(frozen=True, slots=True)
class Plain:
    """A function of chunks that could not be fused."""

    call: Call
    dtypes: tuple[np.dtype[Any], ...]
    single: bool
    name: str

    def __call__(self, *chunks: Any) -> Any:
        """What the function returns for `chunks`."""
        if any(backend.is_device_array(x) for x in chunks):
            chunks = tuple(backend.to_device(x) for x in chunks)
        arguments, keywords = self.call.split(chunks)
        return self.call.function(*arguments, **keywords)


def fuse(call: Call, dtypes: Sequence[np.dtype[Any]]) -> Fused | Plain:
    """The function for arrays of element types `dtypes`; with a `FusionWarning` where it stays as it is.

    Raises
    ------
    ArrayError
        If it is not elementwise.
    """
    name = funcname(call.function)
    arguments, keywords = call.split([dtype.newbyteorder("=") for dtype in dtypes])
    try:
        return Fused(trace(call.function, arguments, keywords), name)
    except NotFusableError as error:
        plain = _plain(call, dtypes, name)
        warnings.warn(
            f"{name} is called as it is, with an array in memory for each step, since {error} cannot be fused",
            FusionWarning,
            stacklevel=4,
        )
        return plain


def _plain(call: Call, dtypes: Sequence[np.dtype[Any]], name: str) -> Plain:
    """The function as it is, once it has shown on a sample that it is elementwise."""

    def results_of(arrays: Sequence[Any]) -> tuple[bool, tuple[Any, ...]]:
        arguments, keywords = call.split(arrays)
        results = call.function(*arguments, **keywords)
        single = not isinstance(results, tuple)
        return single, tuple(np.asarray(x) for x in ((results,) if single else results))

    samples = [np.arange(1, SAMPLE + 1).astype(dtype) for dtype in dtypes]
    with np.errstate(all="ignore"):
        single, whole = results_of(samples)
        if any(x.shape != (SAMPLE,) for x in whole):
            shapes = ", ".join(str(x.shape) for x in whole)
            raise ArrayError(
                f"{name} is not elementwise: of {SAMPLE} elements it makes {shapes}: use da.map_blocks or a reduction"
            )
        _, turned = results_of([x[::-1] for x in samples])
        _, parts = results_of([x[: SAMPLE // 2] for x in samples])
    for x, back, part in zip(whole, turned, parts, strict=True):
        if not (_same(back[::-1], x) and _same(part, x[: SAMPLE // 2])):
            raise ArrayError(
                f"{name} is not elementwise: its results depend on neighbours or on places: use da.map_overlap or "
                f"da.map_blocks"
            )
    return Plain(call, tuple(x.dtype for x in whole), single, name)


def _same(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> bool:
    return x.shape == y.shape and bool(np.all((x == y) | ((x != x) & (y != y))))
