"""Who multiplies sparse matrices in the benchmark on a GPU: each makes a function that takes nothing and gives y."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sparse_matrices import Arrays

Product = Callable[[], Any]


def block(arrays: Arrays, dtype: str) -> Any:
    """A row block on the GPU, of numbers between -1 and 1."""
    import cupy

    from overspill.kernels.csr_residence import make

    indptr, indices, (_, columns) = arrays
    return make(numbers(cupy, indices.size, dtype), indices, indptr, columns)


def numbers(xp: Any, size: int, dtype: str) -> Any:
    """Between -1 and 1."""
    return (2 * xp.random.default_rng(1).random(size, dtype=np.float32) - 1).astype(dtype)


def overspill(A: Any, x: Any) -> Product:
    """Ours."""
    from overspill.kernels import csr

    return lambda: csr.matvec(A, x)


def overspill_by(A: Any, x: Any, lanes: int | None) -> Product:
    """Ours, with so many lanes a row, or by merge-path."""
    import cupy

    from overspill.kernels import csr_cuda, csr_schedule

    y = cupy.empty(A.shape[0], x.dtype)

    def product() -> Any:
        if lanes:
            csr_cuda.by_rows(A, x, y, csr_schedule.evenly(A, lanes))
        else:
            csr_cuda.merge(A, x, y)
        return y

    return product


def cupyx(A: Any, x: Any) -> Product:
    """What CuPy makes of ``A @ x``: cuSPARSE's default."""
    return lambda: A @ x


def cusparse(A: Any, x: Any, algorithm: int) -> Product:
    """cuSPARSE called directly, descriptors and memory made before."""
    import cupy
    from cupy._core._dtype import to_cuda_dtype
    from cupy_backends.cuda.libs import cusparse as library
    from cupyx.cusparse import DnVecDescriptor, SpMatDescriptor

    y = cupy.zeros(A.shape[0], x.dtype)
    descriptors = SpMatDescriptor.create(A), DnVecDescriptor.create(x), DnVecDescriptor.create(y)
    a, b, c = (descriptor.desc for descriptor in descriptors)
    handle, kind = cupy.cuda.device.get_cusparse_handle(), to_cuda_dtype(x.dtype)
    one, zero = np.ones(1, x.dtype), np.zeros(1, x.dtype)
    plain = library.CUSPARSE_OPERATION_NON_TRANSPOSE
    scalars = one.ctypes.data, zero.ctypes.data
    size = library.spMV_bufferSize(handle, plain, scalars[0], a, b, scalars[1], c, kind, algorithm)
    memory = cupy.empty(max(size, 1), np.int8)

    def product() -> Any:
        assert descriptors is not None and one is not zero  # they must live as long as this
        library.spMV(handle, plain, scalars[0], a, b, scalars[1], c, kind, algorithm, memory.data.ptr)
        return y

    return product


def one_thread_a_row(A: Any, x: Any) -> Product:
    """The kernel of workflows/custom_kernel.py."""
    from overspill.kernels.csr_custom import Custom

    path = Path(__file__).parents[1] / "workflows" / "custom_kernel.py"
    spec = importlib.util.spec_from_file_location("custom_kernel", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel = Custom(module.KERNEL, 1)
    return lambda: kernel(A, x)


CSR_ALG1, CSR_ALG2 = 2, 3  # cusparseSpMVAlg_t in cusparse.h

CONTENDERS: dict[str, Callable[[Any, Any], Product]] = {
    "overspill": overspill,
    "cupyx": cupyx,
    "cuSPARSE ALG1": lambda A, x: cusparse(A, x, CSR_ALG1),
    "cuSPARSE ALG2": lambda A, x: cusparse(A, x, CSR_ALG2),
    "one thread a row": one_thread_a_row,
}


def transposed(A: Any, z: Any) -> dict[str, Product]:
    """Who multiplies with the transpose."""
    from overspill.kernels import csr

    return {"overspill": lambda: csr.rmatvec(A, z), "cupyx": lambda: A.T @ z}


def columns(A: Any, X: Any) -> dict[str, Product]:
    """Who multiplies with several columns."""
    from overspill.kernels import csr

    return {"overspill": lambda: csr.matvec(A, X), "cupyx": lambda: A @ X}
