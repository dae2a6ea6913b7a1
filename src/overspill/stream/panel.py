"""A panel on a GPU, in parts: the buffer that chunks were copied into, or chunks where they lie, if that is as fast."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from overspill.stream.strip import Part

Parts = Sequence[Part]

ALIGNED_NBYTES = 16
"""BLAS is slow at matrices whose rows do not all begin at a multiple of this."""


def lie_well(parts: Parts, dtype: np.dtype[Any], least_side: int) -> bool:
    """Whether parts on this GPU are multiplied where they lie as fast as side by side, which takes a copy.

    Parameters
    ----------
    parts
        The panel.
    dtype
        Element type that they are wanted in.
    least_side
        Rows, and columns, of parts on average that keep a GPU as busy as the whole panel does.
    """
    along_side = _are_few({(part.side, part.array.shape[0]) for part in parts}, least_side)
    along_width = _are_few({(part.width, part.array.shape[1]) for part in parts}, least_side)
    return along_side and along_width and all(part.array.dtype == dtype and _is_readable(part) for part in parts)


def products(a: Parts, b: Parts, rows: slice) -> Iterator[tuple[Any, Any, tuple[slice, slice], bool]]:
    """What adds up to some `rows` of ``a @ b.T``.

    Both factors, where their product goes, and whether it is the first that goes there, if `a` and `b` list what comes
    first along the panel's width first.
    """
    for x in a:
        height, width = x.array.shape
        start, stop = max(rows.start, x.side), min(rows.stop, x.side + height)
        if start >= stop:
            continue
        for y in b:
            left, right = max(x.width, y.width), min(x.width + width, y.width + y.array.shape[1])
            if left < right:
                yield (
                    x.array[start - x.side : stop - x.side, left - x.width : right - x.width],
                    y.array[:, left - y.width : right - y.width].T,
                    (slice(start, stop), slice(y.side, y.side + len(y.array))),
                    left == 0,
                )


def _are_few(pieces: set[tuple[int, int]], least: int) -> bool:
    """Whether an axis, in pieces that begin at some place and have some size, is in one, or in large ones."""
    return len(pieces) == 1 or sum(size for _, size in pieces) >= least * len(pieces)


def _is_readable(part: Part) -> bool:
    """Whether BLAS reads it as fast as any: rows, or columns, without gaps, one after the other, and aligned."""
    array = part.array if part.array.strides[0] >= part.array.strides[1] else part.array.T
    pitch, step = array.strides
    # It is cut where the other operand's chunks end, and its product goes to where it begins itself.
    begins = array.data.ptr, pitch, part.width * step, part.side * step
    return step == array.itemsize and pitch >= array.shape[1] * step and not any(x % ALIGNED_NBYTES for x in begins)
