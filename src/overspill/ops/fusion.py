"""A function of chunks made of a function of arrays: an expression if it can be one, else the function as it is."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.utils import funcname

from overspill import backend
from overspill.errors import ArrayError, FusionWarning
from overspill.kernels import fused_numpy
from overspill.kernels.expression import Expression
from overspill.kernels.stand_in import NotFusableError
from overspill.kernels.tracing import Elements, trace
from overspill.memory import link

SAMPLE = 7
"""Elements along the last axis of what a function that cannot be fused has to show that it is elementwise on."""


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
        chunks = in_one_place(chunks)
        if backend.is_device_array(chunks[0]):
            from overspill.kernels import fused_cuda

            results = fused_cuda.evaluate(self.expression, chunks)
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
        chunks = in_one_place(chunks)
        arguments, keywords = self.call.split(chunks)
        results = self.call.function(*arguments, **keywords)
        # A result that does not depend on all arguments may lack some of their dimensions.
        shape = np.broadcast_shapes(*(x.shape for x in chunks))
        xp = backend.array_namespace(chunks[0])
        if self.single:
            return xp.broadcast_to(results, shape)
        return tuple(xp.broadcast_to(x, shape) for x in results)


def in_one_place(chunks: tuple[Any, ...]) -> tuple[Any, ...]:
    """`chunks` all on the device if one of them is there."""
    return tuple(map(link.to_device, chunks)) if any(map(backend.is_device_array, chunks)) else chunks


def fuse(call: Call, arrays: Sequence[Any]) -> Fused | Plain:
    """The function for arrays of the types and dimensions of `arrays`.

    With a `FusionWarning` where it stays as it is.

    Raises
    ------
    ArrayError
        If it is not elementwise.
    """
    name = funcname(call.function)
    arguments, keywords = call.split([Elements(x.dtype.newbyteorder("=")) for x in arrays])
    try:
        return Fused(trace(call.function, arguments, keywords), name)
    except NotFusableError as error:
        reason = f"{error} cannot be fused"
    except Exception as error:  # it may be the function's own, which it then raises for a sample too
        reason = f"tracing it fails ({type(error).__name__}: {error})"
    plain = _plain(call, arrays, name)
    warnings.warn(
        f"{name} is called as it is, with an array in memory for each step, since {reason}", FusionWarning, stacklevel=3
    )
    return plain


def _plain(call: Call, arrays: Sequence[Any], name: str) -> Plain:
    """The function as it is, once it has shown on a sample that it is elementwise."""
    samples = [_sample(x) for x in arrays]
    shape = np.broadcast_shapes(*(x.shape for x in samples))

    def results_of(view: Callable[[Any], Any]) -> tuple[bool, tuple[Any, ...]]:
        given = [view(x).copy() for x in samples]
        arguments, keywords = call.split(given)
        try:
            results = call.function(*arguments, **keywords)
        except Exception as error:
            raise ArrayError(f"{name} fails on a sample of shape {given[0].shape}: {error}") from error
        if not all(_same(x, view(sample)) for x, sample in zip(given, samples, strict=True)):
            raise ArrayError(f"{name} changes its arguments in place, which are not its own: let it make new arrays")
        single = not isinstance(results, tuple)
        return single, tuple(np.asarray(x) for x in ((results,) if single else results))

    with np.errstate(all="ignore"):
        single, whole = results_of(lambda x: x)
        if any(x.shape != shape for x in whole):
            shapes = ", ".join(str(x.shape) for x in whole)
            raise ArrayError(
                f"{name} is not elementwise: of shape {shape} it makes {shapes}: use da.map_blocks or a reduction"
            )
        for view in (_turned, _inner):
            for x, part in zip(whole, results_of(view)[1], strict=True):
                if not _same(part, view(x)):
                    raise ArrayError(
                        f"{name} is not elementwise: its results depend on neighbours or on places: use "
                        f"da.map_overlap or da.map_blocks"
                    )
    return Plain(call, tuple(x.dtype for x in whole), single, name)


def _sample(x: Any) -> np.ndarray[Any, Any]:
    """Different numbers in no order, the smallest first, by far the largest last; as many dimensions as `x`."""
    shape = tuple(max(4, SAMPLE - number) for number in range(x.ndim))[::-1]
    size = math.prod(shape)
    values = np.random.default_rng(0).permutation(np.arange(1, size + 1))
    values[np.argmin(values)], values[0] = values[0], 1
    values[np.argmax(values)], values[-1] = values[-1], 3 * size
    if x.dtype.kind == "b":
        values %= 2
    return values.reshape(shape).astype(x.dtype)


def _turned(x: Any) -> Any:
    return x[(slice(None, None, -1),) * x.ndim]


def _inner(x: Any) -> Any:
    return x[(slice(1, -1),) * x.ndim]


def _same(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> bool:
    return x.shape == y.shape and bool(np.all((x == y) | ((x != x) & (y != y))))
