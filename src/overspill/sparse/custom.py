"""``A @ x`` as a function, which takes a user's own CUDA kernel in place of ours."""

import re
from typing import Any

import dask.array as da

from overspill.errors import ArrayError, UsageError
from overspill.kernels.csr_custom import NAME, Custom
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.products import multiply


def matvec(A: CSRMatrix, x: Any, kernel: str | None = None, *, threads_per_row: int = 1) -> da.Array:
    """``A @ x``, lazily, by the kernel given.

    Parameters
    ----------
    A
        The matrix; on GPUs if a kernel is given.
    x
        Shape (columns,) or (columns, k): Dask, NumPy or CuPy array.
    kernel
        CUDA C++ source of a function with C linkage that multiplies one row block with one column::

            extern "C" __global__ void matvec(
                long long rows, const INDEX* indptr, const INDEX* indices, const VALUE* data,
                const VALUE* x, VALUE* y)

        ``INDEX`` and ``VALUE`` are defined before it: ``int`` or ``long long``, as the block's indices are; ``float``,
        ``double``, or CuPy's ``complex<float>`` or ``complex<double>``, the common type of `A` and `x`. Row i has
        entries ``indptr[i]`` to ``indptr[i + 1] - 1``, each a column in `indices`, which counts from where `x` begins,
        and a value in `data`. `y` has `rows` elements, zeros before.
    threads_per_row
        Threads that are started for each row. They come in blocks of 256, so that those of the last block may have no
        row: a kernel must look.

    Returns
    -------
    dask.array.Array
        As ``A @ x`` is.

    Raises
    ------
    ArrayError
        A kernel for a matrix on the host.
    UsageError
        A source without such a function, threads that are not 1 to 256; when computed, a source that does not compile.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> import overspill as osp
    >>> A = osp.sparse.CSRMatrix.from_scipy(scipy.sparse.diags_array([1.0, 2.0, 3.0]))
    >>> osp.sparse.matvec(A, np.ones(3)).compute()
    array([1., 2., 3.])
    """
    if kernel is None:
        return multiply(A, x)
    if not re.search(rf"__global__\b[^;{{}}]*\b{NAME}\s*\(", kernel):
        raise UsageError(
            f'kernel= defines no {NAME}: it must contain extern "C" __global__ void {NAME}(long long rows, ...)'
        )
    if not 1 <= threads_per_row <= 256:
        raise UsageError(f"threads_per_row={threads_per_row} is not 1 to 256, the threads of a block")
    if A.residence == "host":
        raise ArrayError("kernel= is CUDA C++, and the matrix lies on the host: call matvec(A.to_device(), x, kernel)")
    return multiply(A, x, Custom(kernel, threads_per_row))
