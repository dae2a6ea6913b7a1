"""Matrix products on a GPU through cuBLAS, accumulating in place."""

from typing import Any

import cupy
import cupy.cublas
import numpy as np
from cupy.cuda import cublas, runtime


def gemm(a: Any, b: Any, c: Any, *, accumulate: bool) -> None:
    """Queue ``c = a @ b`` on the current stream, or ``c += a @ b`` with `accumulate`.

    Parameters
    ----------
    a, b
        Operands of shape (m, k) and (k, n), each in C or F order: float32, float64, complex64, complex128 or float16.
    c
        Result of shape (m, n) in C order; of the operands' dtype, float32 for float16.
    accumulate
        Whether to add to `c` instead of overwriting it.
    """
    if a.dtype == np.float16:
        _half_gemm(a, b, c, accumulate=accumulate)
    else:
        cupy.cublas.gemm("N", "N", a, b, out=c, alpha=1.0, beta=1.0 if accumulate else 0.0)


def _half_gemm(a: Any, b: Any, c: Any, *, accumulate: bool) -> None:
    """The product of float16 operands, accumulated in float32, which CuPy's own gemm does not offer."""
    (m, k), n = a.shape, b.shape[1]
    # cuBLAS is column-major: what it sees of a row-major c is its transpose, the product of the transposes in turn.
    b_flag, b_leading = (cublas.CUBLAS_OP_N, n) if b.flags.c_contiguous else (cublas.CUBLAS_OP_T, k)
    a_flag, a_leading = (cublas.CUBLAS_OP_N, k) if a.flags.c_contiguous else (cublas.CUBLAS_OP_T, m)
    alpha, beta = np.ones(1, np.float32), np.full(1, accumulate, np.float32)
    cublas.gemmEx(
        *(cupy.cuda.device.get_cublas_handle(), b_flag, a_flag, n, m, k, alpha.ctypes.data),
        *(b.data.ptr, runtime.CUDA_R_16F, b_leading, a.data.ptr, runtime.CUDA_R_16F, a_leading),
        *(beta.ctypes.data, c.data.ptr, runtime.CUDA_R_32F, n),
        *(cublas.CUBLAS_COMPUTE_32F, cublas.CUBLAS_GEMM_DEFAULT),
    )
