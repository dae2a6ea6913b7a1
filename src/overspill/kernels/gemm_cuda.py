"""Matrix products on a GPU through cuBLAS, accumulating in place."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import cupy
import numpy as np
from cupy.cuda import cublas, runtime

from overspill.kernels import cublaslt

_COMPUTED_IN = {
    "float16": (runtime.CUDA_R_16F, runtime.CUDA_R_32F, np.float32, cublas.CUBLAS_COMPUTE_32F),
    "float32": (runtime.CUDA_R_32F, runtime.CUDA_R_32F, np.float32, cublas.CUBLAS_COMPUTE_32F),
    "float64": (runtime.CUDA_R_64F, runtime.CUDA_R_64F, np.float64, cublas.CUBLAS_COMPUTE_64F),
    "complex64": (runtime.CUDA_C_32F, runtime.CUDA_C_32F, np.complex64, cublas.CUBLAS_COMPUTE_32F),
    "complex128": (runtime.CUDA_C_64F, runtime.CUDA_C_64F, np.complex128, cublas.CUBLAS_COMPUTE_64F),
}
"""Of each element type: cuBLAS's name of it, and of the result's, the factors' type, and what it computes in."""

COLUMN_MAJOR = ("float32", "float64")
"""Types whose results are made faster if they lie column by column, operands row by row: cuBLAS has kernels for that
which it lacks where all three lie alike (`cublaslt.KERNELS`)."""

BLOCK_SIDE = {"float32": 16384, "float64": 16384}
"""Rows, and columns, of the blocks that larger results are made in, about. They are about 1 % faster than one call
for the whole, and than blocks of 8192²; of other types the whole is as fast within 1 %, or faster (measured by
`benchmarks/gemm_blocks_gpu.py`)."""

ALIGNED = 128
"""Elements, or a multiple of it, after which blocks end: what cuBLAS gives to one group of threads."""


def fastest_order(dtype: str) -> Literal["C", "F"]:
    """The order of memory in which results of `dtype` are made fastest."""
    return "F" if dtype in COLUMN_MAJOR else "C"


def gemm(a: Any, b: Any, c: Any, *, accumulate: bool) -> None:
    """Queue ``c = a @ b`` on the current stream, or ``c += a @ b`` with `accumulate`.

    Parameters
    ----------
    a, b
        Operands of shape (m, k) and (k, n), the elements of each next to each other along one of its axes: float32,
        float64, complex64, complex128 or float16.
    c
        Result of shape (m, n), its rows, or its columns, each in one piece; of the operands' dtype, or float32 for
        float16.
    accumulate
        Whether to add to `c` instead of overwriting it.
    """
    if c.strides[1] != c.itemsize:
        a, b, c = b.T, a.T, c.T
    side = BLOCK_SIDE.get(a.dtype.name, max(c.shape))
    for rows in _blocks(c.shape[0], side):
        for columns in _blocks(c.shape[1], side):
            _multiply(a[rows], b[:, columns], c[rows, columns], accumulate=accumulate)


def _blocks(size: int, side: int) -> Iterator[slice]:
    """Parts of an axis, as long as each other but for `ALIGNED`, and about `side`."""
    parts = max(1, min(round(size / side), size // ALIGNED))
    edges = [round(size * part / parts / ALIGNED) * ALIGNED for part in range(parts)]
    return (slice(start, stop) for start, stop in pairwise((*edges, size)))


def _multiply(a: Any, b: Any, c: Any, *, accumulate: bool) -> None:
    # cuBLAS is column-major: what it sees of a row-major c is its transpose, the product of the transposes in turn.
    (m, k), n = a.shape, b.shape[1]
    (a_flag, a_leading), (b_flag, b_leading) = _layout(a), _layout(b)
    c_leading = max(n, c.strides[0] // c.itemsize)
    operand, result, factor, arithmetic = _COMPUTED_IN[a.dtype.name]
    alpha, beta = np.ones(1, factor), np.full(1, accumulate, factor)
    sizes, flags, leading = (n, m, k), (b_flag, a_flag), (b_leading, a_leading, c_leading)
    problem = cublaslt.Problem(a.dtype.name, (operand, arithmetic), sizes, flags, leading)
    if cublaslt.multiply(problem, alpha.ctypes.data, b, a, beta.ctypes.data, c):
        return
    cublas.gemmEx(
        *(cupy.cuda.device.get_cublas_handle(), b_flag, a_flag, n, m, k, alpha.ctypes.data),
        *(b.data.ptr, operand, b_leading, a.data.ptr, operand, a_leading),
        *(beta.ctypes.data, c.data.ptr, result, c_leading),
        *(arithmetic, cublas.CUBLAS_GEMM_DEFAULT),
    )


def _layout(x: Any) -> tuple[int, int]:
    """Whether cuBLAS must transpose `x` once more, and how many elements lie from one row, or column, to the next."""
    down, across = (stride // x.itemsize for stride in x.strides)
    return (cublas.CUBLAS_OP_N, down) if across == 1 and down >= x.shape[1] else (cublas.CUBLAS_OP_T, across)
