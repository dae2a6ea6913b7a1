"""The graph of a reduction: a record of each chunk, made as the chunk's elements are, and a tree that merges records.

The tree's shape depends on the array's chunks alone, and records are merged by their places, not as they arrive: so
results are the same bits on any number of workers.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.layers import ArraySliceDep
from numpy.lib.array_utils import normalize_axis_tuple

from overspill import backend
from overspill.errors import ArrayError, DTypeError
from overspill.kernels import reduction_numpy
from overspill.kernels.expression import Expression
from overspill.kernels.origin import aligned, origin_of
from overspill.kernels.reduction import Box, Parts, Reduction, fold, stacked, unstacked
from overspill.ops.fusion import in_one_place

FAN_IN = 16
"""Records that one task of the tree merges at most, if they are large."""

FAN_IN_OF_SMALL = 256
"""The same of records that take less than `SMALL_NBYTES` together: each level of the tree takes Dask some 5 ms."""

SMALL_NBYTES = 2**20

Axis: TypeAlias = int | Sequence[int] | None


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a chunk, as a function of the chunks that its elements are made of.

    Attributes
    ----------
    reduction, expression, axes
        What is kept of which elements, along which axes.
    whole
        Shape of the whole array.
    """

    reduction: Reduction
    expression: Expression
    axes: tuple[int, ...]
    whole: tuple[int, ...]

    def __call__(self, place: tuple[slice, ...], *chunks: Any) -> Any:
        """The records as one array, `axes` kept with length one and a last axis for their parts.

        `place` is that of the chunk in the whole array.
        """
        chunks = in_one_place(chunks)
        box = Box(self.whole, (0,) * len(self.whole), self.whole).within(place)
        if backend.is_device_array(chunks[0]):
            from overspill.kernels import reduction_cuda

            return reduction_cuda.reduce(self.reduction, self.expression, self.axes, chunks, box)
        return reduction_numpy.reduce(self.reduction, self.expression, self.axes, chunks, box)


@dataclass(frozen=True, slots=True)
class Merge:
    """A node of the tree: one record of the records along its axes, of which the last is that of their parts."""

    reduction: Reduction

    def __call__(self, records: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        """The merged records."""
        xp = backend.array_namespace(records)
        return stacked(self.reduction, xp, _merged(self.reduction, xp, records, axis))


@dataclass(frozen=True, slots=True)
class Finish:
    """The root of the tree: what the merged records come to."""

    reduction: Reduction
    result: Callable[[Any, Parts], Any]

    def __call__(self, records: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        """The result, without the axes."""
        xp = backend.array_namespace(records)
        parts = _merged(self.reduction, xp, records, axis)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.result(xp, parts).squeeze(axis=axis[:-1])[()]


def _merged(reduction: Reduction, xp: Any, records: Any, axis: tuple[int, ...]) -> Parts:
    parts = unstacked(reduction, records)
    merge = functools.partial(reduction.merge, xp)
    for one in axis[:-1]:
        parts = fold(merge, parts, one)
    return parts


def reduced(
    name: str,
    x: da.Array,
    axes: tuple[int, ...],
    keepdims: bool,
    *,
    prepare: Callable[[Expression], Expression],
    reduction: Reduction,
    result: Callable[[Any, Parts], Any],
    dtype: np.dtype[Any],
) -> da.Array:
    """The array of what `reduction` comes to along `axes`.

    Parameters
    ----------
    name
        Of the function.
    x
        The array.
    axes
        The axes.
    keepdims
        Whether they stay, with length one.
    prepare
        What is reduced, of a type that `reduction` takes, in terms of what makes the elements of `x`.
    reduction
        The reduction.
    result
        What comes out, of type `dtype`, of a record.
    dtype
        See there.
    """
    origin = origin_of(x)
    records = Records(reduction, prepare(origin.expression), axes, x.shape)
    arrays, residence = aligned(x, origin)
    kept = [(1,) * len(sizes) if axis in axes else sizes for axis, sizes in enumerate(x.chunks)]
    pairs: list[Any] = [ArraySliceDep(x.chunks), range(x.ndim)]
    for array in arrays:
        pairs += [array, range(x.ndim - array.ndim, x.ndim)]
    parts = da.blockwise(
        records,
        range(x.ndim + 1),
        *pairs,
        name=f"{name}-records-{tokenize(records, x.chunks, *arrays)}",
        new_axes={x.ndim: reduction.parts},
        adjust_chunks=dict(enumerate(kept)),
        align_arrays=False,
        dtype=reduction.dtype,
        meta=backend.meta(residence, reduction.dtype, x.ndim + 1),
    )
    crossed = sum(len(x.chunks[axis]) > 1 for axis in axes)
    record_nbytes = math.prod(max(sizes, default=0) for sizes in kept) * reduction.parts * reduction.dtype.itemsize
    fan_in = FAN_IN_OF_SMALL if record_nbytes * FAN_IN_OF_SMALL < SMALL_NBYTES else FAN_IN
    each = max(2, int(fan_in ** (1 / max(crossed, 1)) + 1e-9))
    y: da.Array = da.reduction(
        parts,
        chunk=_as_they_are,
        combine=Merge(reduction),
        aggregate=Finish(reduction, result),
        axis=(*axes, x.ndim),
        keepdims=False,
        split_every=dict.fromkeys((*axes, x.ndim), each),
        dtype=dtype,
        name=name,
        meta=backend.meta(residence, dtype, x.ndim - len(axes)),
    )
    return y[tuple(None if axis in axes else slice(None) for axis in range(x.ndim))] if keepdims else y


def _as_they_are(records: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return records


def checked(name: str, x: Any, axis: Axis) -> tuple[da.Array, tuple[int, ...]]:
    """`x` as an array that can be reduced, and the axes, in their order; one sentence for everything else."""
    x = da.asarray(x)
    if not (type(x._meta) is np.ndarray or backend.is_device_array(x._meta)):
        raise ArrayError(
            f"{name} takes chunks of numpy.ndarray or cupy.ndarray, not of {type(x._meta).__name__}: convert them with "
            f"map_blocks() first"
        )
    if x.dtype.kind not in "biufc":
        raise DTypeError(f"{name} cannot reduce elements of type {x.dtype}: cast with x.astype() to a numeric type")
    if any(math.isnan(size) for sizes in x.chunks for size in sizes):
        raise ArrayError(f"{name} needs the sizes of all chunks: call x.compute_chunk_sizes() first")
    try:
        axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    except (ValueError, TypeError) as error:
        raise ArrayError(f"{name} of an array of {x.ndim} dimensions cannot take axis={axis!r}: {error}") from None
    return x, tuple(sorted(axes))


def check_elements(name: str, x: da.Array, axes: tuple[int, ...]) -> None:
    """Refuse results that are made of no elements."""
    if 0 in (x.shape[axis] for axis in axes) and 0 not in (n for axis, n in enumerate(x.shape) if axis not in axes):
        raise ArrayError(f"{name} of no elements is nothing: x has shape {x.shape}; reduce along axes that have some")
