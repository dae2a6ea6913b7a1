"""Histograms, fused with the elementwise function that makes the elements."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import ArrayLike, NDArray

from overspill import backend
from overspill.errors import ArrayError, DTypeError
from overspill.kernels import histogram_numpy
from overspill.kernels.expression import Expression
from overspill.kernels.origin import aligned, origin_of
from overspill.ops.fusion import in_one_place
from overspill.ops.reductions.element_types import cast
from overspill.ops.reductions.graph import checked


@dataclass(frozen=True)
class Counts:
    """The counts of a chunk, as a function of the chunks that its elements are made of."""

    expression: Expression
    bins: int | NDArray[Any]
    limits: tuple[float, float] | None
    ndim: int

    def __call__(self, *chunks: Any) -> Any:
        """Counts along a last axis, all others of length one."""
        chunks = in_one_place(chunks)
        if backend.is_device_array(chunks[0]):
            from overspill.kernels import histogram_cuda

            counts = histogram_cuda.count(self.expression, chunks, self.bins, self.limits)
        else:
            counts = histogram_numpy.count(self.expression, chunks, self.bins, self.limits)
        return counts.reshape((1,) * self.ndim + (-1,))


def histogram(
    x: da.Array, bins: int | ArrayLike, range: Sequence[float] | None = None
) -> tuple[da.Array, NDArray[Any]]:
    """How many elements lie in each bin.

    Fused with what makes the elements, as `sum` is; on a GPU elements are made first, chunk by chunk.

    Parameters
    ----------
    x
        Array of booleans or real numbers, or what Dask makes an array of.
    bins
        Edges, which must not decrease; or a number of bins of one width.
    range
        The outer edges, if `bins` is a number. Elements beyond, and what is not a number, are not counted.

    Returns
    -------
    dask.array.Array
        Counts, lazy, of int64. On the CPU exactly NumPy's.
    numpy.ndarray
        Edges of the bins, one more.

    Raises
    ------
    ArrayError
        For bins and ranges that NumPy refuses, a number of bins without a range, which would take another pass,
        and chunks of unknown size.
    DTypeError
        For elements that are no real numbers.

    Examples
    --------
    >>> import dask.array as da
    >>> import overspill as osp
    >>> counts, edges = osp.histogram(da.arange(100, chunks=10), bins=4, range=(0, 100))
    >>> counts.compute(), edges
    (array([25, 25, 25, 25]), array([  0.,  25.,  50.,  75., 100.]))
    """
    x, _ = checked("histogram", x, None)
    if x.dtype.kind == "c":
        raise DTypeError(f"histogram cannot order elements of type {x.dtype}: pass their real parts or magnitudes")
    given = int(bins) if np.ndim(bins) == 0 and isinstance(bins, int | np.integer) else np.asarray(bins)
    if isinstance(given, int) and range is None:
        raise ArrayError("histogram of a number of bins needs range=(low, high): compute osp.min(x), osp.max(x) first")
    limits: tuple[float, float] | None = None
    dtype = np.dtype(np.uint8) if x.dtype.kind == "b" else x.dtype.newbyteorder("=")
    try:
        if isinstance(given, int) and range is not None:
            low, high = range
            limits = float(low), float(high)
        edges = np.histogram_bin_edges(np.empty(0, dtype), given, limits)
    except (ValueError, TypeError) as error:
        raise ArrayError(f"histogram cannot take bins={bins!r} and range={range!r}: {error}") from None
    origin = origin_of(x)
    counts = Counts(cast(dtype)(origin.expression), given, limits, x.ndim)
    arrays, residence = aligned(x, origin)
    each = da.map_blocks(
        counts,
        *arrays,
        name=f"histogram-counts-{tokenize(counts, *arrays)}",
        chunks=(*((1,) * blocks for blocks in x.numblocks), (len(edges) - 1,)),
        new_axis=[x.ndim],
        dtype=np.int64,
        meta=backend.meta(residence, np.dtype(np.int64), x.ndim + 1),
    )
    return each.sum(axis=tuple(np.arange(x.ndim).tolist())), edges
