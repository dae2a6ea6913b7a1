"""Reductions of expressions on a GPU: the kernel that computes the elements accumulates them too.

CuPy's own reductions of whole arrays run in one thread block, and it fuses only some of them with what comes before. So
sums take several rounds of CuPy's fused reduction over the first axis of a matrix, which runs in as many blocks as the
matrix is wide; and all others are elementwise kernels that merge the records of a few equal slices of the array.
Nothing here waits for the device.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import cupy

from overspill.kernels import fused_cuda
from overspill.kernels.expression import Expression, identity
from overspill.kernels.folds import Fold
from overspill.kernels.places import Place
from overspill.kernels.reduction import Box, Parts, Reduction, stacked

ROWS = 512
"""Elements that one round of a sum makes one: 32 lie between a thread's first and last, and four more roundings."""

COLUMNS = 32
"""Fewer sums than that at a time are not worth a kernel of their own."""

WIDTH = 8
"""Slices that one kernel merges; fewer of expressions of many arrays."""

PARAMETERS = 48
"""Arrays that a kernel takes at most, of which CUDA takes 4 KiB of descriptions."""


def reduce(
    reduction: Reduction,
    expression: Expression,
    axes: tuple[int, ...],
    arrays: Sequence[Any],
    box: Box,
) -> Any:
    """Queue what makes the records of a chunk on the current stream; the twin of `reduction_numpy.reduce`."""
    shape = box.shape
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    if not math.prod(shape):
        records = cupy.empty((*kept, reduction.parts), reduction.dtype)
        for number, value in enumerate(reduction.empty()):
            records[..., number] = value
        return records
    if len(arrays) > PARAMETERS // 2 or not all(x.shape == shape and x.flags.c_contiguous for x in arrays):
        arrays = [cupy.ascontiguousarray(x) for x in fused_cuda.evaluate(expression, arrays)]
        expression = identity(expression.dtypes[0])
    first, stop = _longest_run(shape, axes)
    pre, run, post = math.prod(shape[:first]), math.prod(shape[first:stop]), math.prod(shape[stop:])
    arrays = [x.reshape(pre, run, post) for x in arrays]
    if isinstance(reduction, Fold) and reduction.function == "add":
        parts = _summed(expression, arrays)
    else:
        parts = _folded(reduction, _lifted(reduction, expression, arrays))
    sizes = [*shape[:first], *[1] * (stop - first), *shape[stop:]]
    for axis in axes:
        if sizes[axis] > 1:
            pre, post = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
            parts = _folded(reduction, tuple(x.reshape(pre, sizes[axis], post) for x in parts))
            sizes[axis] = 1
    parts = reduction.located(tuple(x.reshape(kept) for x in parts), box, axes)
    return stacked(reduction, cupy, parts)


def _longest_run(shape: Sequence[int], axes: tuple[int, ...]) -> tuple[int, int]:
    """Of neighbouring axes that are all reduced those with the most elements, as a range."""
    runs = [(0, 0)]
    for first, stop in itertools.combinations(range(len(shape) + 1), 2):
        if all(axis in axes for axis in range(first, stop)):
            runs.append((first, stop))
    return max(runs, key=lambda run: (math.prod(shape[run[0] : run[1]]), run))


def _summed(expression: Expression, arrays: Sequence[Any]) -> Parts:
    """Sums along the middle axis, which is kept."""
    pre, run, post = arrays[0].shape
    step = run // ROWS
    if step * post >= COLUMNS:
        heads = [x[:, : step * ROWS].reshape(pre, ROWS, step * post) for x in arrays]
        sums = _sum_kernel(expression, heads).reshape(pre, step, post)
        if run > step * ROWS:
            tail = fused_cuda.evaluate(expression, [x[:, step * ROWS :] for x in arrays])[0]
            sums = cupy.concatenate([sums, tail.sum(axis=1, keepdims=True)], axis=1)
    else:
        (sums,) = fused_cuda.evaluate(expression, arrays)
    while (run := sums.shape[1]) > ROWS:
        step = run // ROWS
        head = sums[:, : step * ROWS].reshape(pre, ROWS, step, post).sum(axis=1)
        tail = sums[:, step * ROWS :].sum(axis=1, keepdims=True)
        sums = cupy.concatenate([head, tail], axis=1) if run > step * ROWS else head
    return (sums.sum(axis=1, keepdims=True),)


def _sum_kernel(expression: Expression, arrays: Sequence[Any]) -> Any:
    """Sums along the middle axis, which is dropped; indices are cheapest where there are only two."""
    if arrays[0].shape[0] == 1:
        arrays, axis = [x[0] for x in arrays], 0
    else:
        axis = 1

    def summed(*arrays: Any) -> Any:
        return cupy.sum(fused_cuda.within_kernel(expression, arrays)[0], axis=axis)

    return _kernel(("sum", expression, axis), summed)(*arrays)


def _lifted(reduction: Reduction, expression: Expression, arrays: Sequence[Any]) -> Parts:
    """Records along the middle axis, each of as many elements as one kernel merges; those left over one by one."""
    _, run, _ = arrays[0].shape
    width = min(run, WIDTH, PARAMETERS // len(arrays))
    step = run // width
    heads = [[x[:, number * step : (number + 1) * step] for x in arrays] for number in range(width)]
    parts = _lifting_kernel(reduction, expression, heads, 0, step)
    if run == step * width:
        return parts
    tail = _lifting_kernel(reduction, expression, [[x[:, step * width :] for x in arrays]], step * width, 0)
    return tuple(cupy.concatenate(pair, axis=1) for pair in zip(parts, tail, strict=True))


def _lifting_kernel(
    reduction: Reduction, expression: Expression, slices: Sequence[Sequence[Any]], begin: int, step: int
) -> Parts:
    width, places = len(slices), ()
    if isinstance(reduction, Place):
        size = slices[0][0].shape[1]
        first = cupy.arange(begin, begin + size).reshape(1, size, 1)
        # Arrays, since to CuPy's fusion the product of two numbers is as short as the shorter one.
        places = (first, *(cupy.arange(width) * step).reshape(width, 1, 1, 1))

    def lifted(*arguments: Any) -> Any:
        count = len(expression.inputs)
        first, *offsets = arguments[width * count :] or (None,)
        records = []
        for number in range(width):
            (values,) = fused_cuda.within_kernel(expression, arguments[number * count : (number + 1) * count])
            place = first + offsets[number] if offsets else None
            records.append(reduction.of_elements(cupy, values, place))
        return _single(_merged(reduction, records))

    kernel = _kernel(("lift", reduction, expression, width), lifted)
    return _parts(kernel(*itertools.chain(*slices), *places))


def _folded(reduction: Reduction, parts: Parts) -> Parts:
    """Records merged along the middle axis, which is kept, with a kernel for a few slices at a time."""
    while (run := parts[0].shape[1]) > 1:
        width = min(run, WIDTH)
        step = run // width
        heads = [x[:, number * step : (number + 1) * step] for number in range(width) for x in parts]

        def folded(*arguments: Any, width: int = width) -> Any:
            count = reduction.parts
            return _single(_merged(reduction, [arguments[n * count : (n + 1) * count] for n in range(width)]))

        merged = _parts(_kernel(("fold", reduction, width), folded)(*heads))
        tails = (x[:, step * width :] for x in parts)
        joined = (cupy.concatenate(pair, axis=1) for pair in zip(merged, tails, strict=True))
        parts = tuple(joined) if run > step * width else merged
    return parts


def _merged(reduction: Reduction, records: Sequence[Parts]) -> Parts:
    """One of all, in pairs."""
    while len(records) > 1:
        pairs = [reduction.merge(cupy, *records[i : i + 2]) for i in range(0, len(records) - 1, 2)]
        records = [*pairs, *records[2 * len(pairs) :]]
    return records[0]


def _single(parts: Parts) -> Any:
    return parts[0] if len(parts) == 1 else parts


def _parts(results: Any) -> Parts:
    return results if isinstance(results, tuple) else (results,)


def _kernel(key: tuple[Any, ...], function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one kernel, the same one for equal keys; numbers that are equal but of different types differ."""
    text = repr(key)
    if text not in _kernels:
        _kernels[text] = cupy.fuse(kernel_name=f"overspill_{key[0]}")(function)
    return _kernels[text]


_kernels: dict[str, Callable[..., Any]] = {}
