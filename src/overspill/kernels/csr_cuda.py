"""Products of a row block with vectors on a GPU, by kernels of our own."""

from itertools import pairwise
from typing import Any

import cupy
import numpy as np

from overspill.kernels import csr_choice, csr_facts, csr_schedule, sources
from overspill.kernels.compiled import THREADS, kernel, multiprocessors
from overspill.kernels.csr_facts import arrays, remembered
from overspill.kernels.csr_known import known
from overspill.kernels.sources import ALL, FIRST_PANEL, FURTHER_PANEL, LISTED

ROUNDS, PANEL_ROUNDS = 4, 16
"""Rounds in which a thread block of the row kernel goes through its rows, at most; where they begin is read ahead."""


def matvec(block: Any, x: Any, out: Any = None) -> Any:
    """Queue ``block @ x`` on the current stream; see `overspill.kernels.csr.matvec`.

    The first product of a block, or of what it is a copy of, waits for the device, to learn how long its rows are.
    """
    dtype = np.result_type(block.dtype, x.dtype)
    x, rows = x.astype(dtype, copy=False), block.shape[0]
    if x.ndim == 1:
        y = cupy.empty(rows, dtype) if out is None or out.dtype != dtype else out
        by_itself(block, cupy.ascontiguousarray(x), y)
    else:
        y = several(block, x)
    if out is None or out is y:
        return y
    out[...] = y
    return out


def several(block: Any, x: Any) -> Any:
    """Queue the product with columns."""
    if block.nnz and x.shape[1] > 1 and _even(block):
        return columns(block, x)
    y = cupy.empty((block.shape[0], x.shape[1]), x.dtype, order="F")
    for own_x, own_y in zip(_columns(x), _columns(y), strict=True):
        by_itself(block, own_x, own_y)
    return y


def by_itself(block: Any, x: Any, y: Any) -> None:
    """Queue the product with 1-D contiguous arrays."""
    if not block.nnz:
        y.fill(0)
    elif (plan := remembered(block, csr_schedule.schedule)) is not None:
        by_rows(block, x, y, plan)
    else:
        merge(block, x, y)


def rmatvec(block: Any, x: Any) -> Any:
    """Queue ``block.T @ x`` on the current stream; see `overspill.kernels.csr.rmatvec`.

    Products are added as whole numbers, in any order: with c entries in a column, fewer than 2^h, what this adds to the
    error of each product's rounding is at most c max|A| max|x| 2^(2h - 121), in single precision 2^(h - 58), and two
    roundings of the sum. The first product of a block waits for the device.
    """
    dtype = np.result_type(block.dtype, x.dtype)
    x, width = x.astype(dtype, copy=False), block.shape[1]
    y = cupy.zeros((width, *x.shape[1:]), dtype, order="F")
    if block.nnz:
        for own_x, own_y in zip(_columns(x), _columns(y), strict=True):
            transposed(block, own_x, own_y)
    return y


def _even(block: Any) -> bool:
    """Whether all rows of a block with entries are given lanes."""
    choice = known(block, csr_schedule.choose)
    return choice is not None and not choice.long


def _columns(x: Any) -> list[Any]:
    """Columns of a matrix or the one that a vector is, contiguous: the same memory where they were already."""
    return [cupy.ascontiguousarray(x)] if x.ndim == 1 else [cupy.ascontiguousarray(column) for column in x.T]


def by_rows(block: Any, x: Any, y: Any, plan: csr_schedule.Schedule) -> None:
    """Queue the product with 1-D contiguous arrays by so many lanes a row as `plan` says."""
    if plan.numbers is not None:
        y.fill(0)
    cuts = remembered(block, csr_schedule.cuts, x.itemsize)
    if cuts is None:
        vector(block, x, y, plan, ALL if plan.numbers is None else LISTED, plan.lanes, plan.begins, plan.ends)
    else:
        lanes = csr_choice.lanes_in_panels(block.shape[0], block.nnz, len(cuts) + 1)
        for number, (begins, ends) in enumerate(pairwise([plan.begins, *cuts, plan.ends])):
            vector(block, x, y, plan, FURTHER_PANEL if number else FIRST_PANEL, lanes, begins, ends)
    if plan.long is not None:
        long_rows(block, x, y, plan.long)


def vector(
    block: Any, x: Any, y: Any, plan: csr_schedule.Schedule, kind: int, lanes: int, begins: Any, ends: Any
) -> None:
    """Queue the row kernel."""
    rows, deep = len(ends), sources.rows_at_once(y.dtype.name)
    _, indices, data = arrays(block)
    owned = THREADS // lanes * deep
    resident = 4 * multiprocessors()
    # Fewer rounds where there would be too few thread blocks to keep all multiprocessors busy to the end.
    most = ROUNDS if kind < FIRST_PANEL else PANEL_ROUNDS
    rounds = min(most, max(1, rows // (owned * resident * 4)))
    numbers = ends if plan.numbers is None else plan.numbers  # not read, but some address
    kernel("csr_vector", "csr_vector", data.dtype.name, y.dtype.name, indices.dtype.name, lanes, deep, kind)(
        (-(-rows // (owned * rounds)),),
        (THREADS,),
        (np.int64(rows), np.int32(rounds), indices.dtype.type(plan.limit), begins, ends, numbers, indices, data, x, y),
    )


def long_rows(block: Any, x: Any, y: Any, long: csr_schedule.LongRows) -> None:
    """Queue the product of long rows, over what `y` has for them."""
    indptr, indices, data = arrays(block)
    carry = cupy.empty(long.pieces, y.dtype)
    kernel("csr_long", "csr_long", data.dtype.name, y.dtype.name, indices.dtype.name)(
        (long.pieces,),
        (THREADS,),
        (np.int64(len(long.numbers)), long.numbers, long.firsts, indptr, indices, data, x, carry),
    )
    kernel("csr_long", "csr_long_sums", y.dtype.name, indices.dtype.name)(
        (len(long.numbers),), (THREADS,), (long.numbers, long.firsts, carry, y)
    )


def merge(block: Any, x: Any, y: Any) -> None:
    """Queue the product with 1-D contiguous arrays by merge-path."""
    rows, nnz = np.int64(block.shape[0]), np.int64(block.nnz)
    indptr, indices, data = arrays(block)
    count, boundaries = remembered(block, csr_facts.tiles)
    carry = cupy.empty(count, y.dtype)
    kernel("csr_merge", "csr_merge", data.dtype.name, y.dtype.name, indices.dtype.name)(
        (count,), (THREADS,), (rows, nnz, boundaries, indptr, indices, data, x, y, carry)
    )
    kernel("csr_merge", "csr_merge_carries", y.dtype.name, indices.dtype.name)(
        (-(-count // THREADS),), (THREADS,), (rows, np.int64(count), boundaries, indptr, carry, y)
    )


def columns(block: Any, x: Any) -> Any:
    """Queue the product with a few columns, all at once; rows of the result lie as those of `x`."""
    rows, k = block.shape[0], x.shape[1]
    indptr, indices, data = arrays(block)
    by_rows = x.strides[1] == x.itemsize
    y = cupy.empty((rows, k), x.dtype, order="C" if by_rows else "F")
    across, each = sources.across(x.dtype.name, by_rows=by_rows)
    aligned = x.data.ptr % 16 == 0 and x.strides[0] % 16 == 0
    wide = by_rows and aligned and k % each == 0
    lanes = sources.COLUMN_LANES
    strides = [np.int64(step // x.itemsize) for step in (*x.strides, *y.strides)]
    types = data.dtype.name, x.dtype.name, indices.dtype.name
    kernel("csr_columns", "csr_columns", *types, lanes, across, each, wide)(
        (-(-rows // (THREADS // lanes)), -(-k // (across * each))),
        (THREADS,),
        (np.int64(rows), np.int64(k), *strides, indptr, indices, data, x, y),
    )
    return y


def transposed(block: Any, x: Any, y: Any) -> None:
    """Queue the product of the transpose with 1-D contiguous arrays, `y` all zeros."""
    rows, nnz = np.int64(block.shape[0]), np.int64(block.nnz)
    indptr, indices, data = arrays(block)
    count, boundaries = remembered(block, csr_facts.tiles)
    parts = 2 if y.dtype.kind == "c" else 1
    limbs = y.dtype.itemsize // parts // 4
    head = np.int32(known(block, csr_facts.column_bits) + parts - 1)
    exponents = remembered(block, csr_facts.data_exponent), csr_facts.exponent(x)
    sums = cupy.zeros(y.size * parts * limbs, np.int64)
    kernel("csr_transposed", "csr_transposed", data.dtype.name, y.dtype.name, indices.dtype.name)(
        (count,),
        (THREADS,),
        (rows, nnz, head, boundaries, *exponents, indptr, indices, data, x, sums, y),
    )
    numbers = np.int64(y.size * parts)
    kernel("csr_transposed", "csr_transposed_finish", y.real.dtype.name)(
        (-(-int(numbers) // THREADS),), (THREADS,), (numbers, head, *exponents, sums, y)
    )
