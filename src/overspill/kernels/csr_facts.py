"""What is found out about a row block on a GPU, and remembered as long as the block lives."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import cupy
import numpy as np

from overspill.kernels import csr_choice
from overspill.kernels.compiled import THREADS, kernel, multiprocessors
from overspill.kernels.csr_known import Table

T = TypeVar("T")

TILE = 7 * THREADS
"""Rows and entries that a block of merge-path's threads takes."""

LOWEST = np.iinfo(np.int32).min


def remembered(block: Any, fact: Callable[..., T], *arguments: Hashable) -> T:
    """``fact(block, *arguments)``, arrays on the device, computed once; work queued from now on finds them done."""
    facts, asked = _facts.of(block), (fact, *arguments)
    stream = cupy.cuda.get_current_stream()
    if asked not in facts:
        value = fact(block, *arguments)
        facts[asked] = value, stream.ptr, stream.record()
    value, queued_on, done = facts[asked]
    if stream.ptr != queued_on:
        stream.wait_event(done)
    return cast(T, value)


_facts = Table()


def arrays(block: Any) -> tuple[Any, Any, Any]:
    """Row pointers, indices and values of a block."""
    return block.indptr.astype(block.indices.dtype, copy=False), block.indices, block.data


@dataclass(frozen=True, slots=True)
class Profile:
    """How long rows are.

    Attributes
    ----------
    slots
        Lane-steps that all rows take, by lanes a row as in `csr_choice.WIDTHS`.
    longest
        Entries of the longest row.
    occupied
        Rows that have entries.
    entries
        Of all rows.
    """

    slots: tuple[int, ...]
    longest: int
    occupied: int
    entries: int


def profile(indptr: Any, limit: int | None = None) -> Profile:
    """Of rows that begin and end at `indptr`; those of more than `limit` entries count as empty."""
    rows, counts = len(indptr) - 1, cupy.zeros(len(csr_choice.WIDTHS) + 3, np.uint64)
    blocks = min(-(-rows // THREADS), 8 * multiprocessors())
    limit = np.iinfo(np.int64).max if limit is None else limit
    kernel("csr_profile", "csr_profile", indptr.dtype.name)(
        (blocks,), (THREADS,), (np.int64(rows), np.int64(limit), indptr, counts)
    )
    *slots, longest, occupied, entries = counts.get().tolist()
    return Profile(tuple(slots), longest, occupied, entries)


def tiles(block: Any) -> tuple[int, Any]:
    """The number of merge-path's tiles, and the row ends before each and at the end."""
    indptr, indices, _ = arrays(block)
    rows, nnz = block.shape[0], block.nnz
    count = -(-(rows + nnz) // TILE)
    boundaries = cupy.empty(count + 1, np.int64)
    kernel("csr_merge", "csr_merge_tiles", indices.dtype.name)(
        (-(-(count + 1) // THREADS),),
        (THREADS,),
        (np.int64(rows), np.int64(nnz), np.int64(count), indptr, boundaries),
    )
    return count, boundaries


def exponent(numbers: Any) -> Any:
    """On the device, the least e so that all finite numbers' parts are below 2^e. Nothing is waited for."""
    real = numbers.view(numbers.real.dtype)
    found = cupy.full(1, LOWEST, np.int32)
    blocks = min(-(-real.size // THREADS), 8 * multiprocessors())
    kernel("csr_transposed", "csr_exponent", real.dtype.name)((blocks,), (THREADS,), (np.int64(real.size), real, found))
    return found


def data_exponent(block: Any) -> Any:
    """`exponent` of the block's values."""
    return exponent(block.data)


def column_bits(block: Any) -> int:
    """Binary digits of the most entries of a column."""
    return int(cupy.bincount(block.indices).max()).bit_length()
