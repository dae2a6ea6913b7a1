"""A user's own CUDA kernel in place of ours, for the product of a row block with a vector."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from overspill.errors import UsageError

THREADS = 256

NAME = "matvec"

VALUES = {"float32": "float", "float64": "double", "complex64": "complex<float>", "complex128": "complex<double>"}

INDICES = {"int32": "int", "int64": "long long"}


@dataclass(frozen=True, slots=True)
class Custom:
    """A kernel's source, called as `overspill.kernels.csr.matvec` is; see `overspill.sparse.matvec`."""

    source: str
    threads_per_row: int

    def __call__(self, block: Any, x: Any) -> Any:
        """Queue ``block @ x`` on the current stream, column by column."""
        import cupy

        dtype, (rows, _) = np.result_type(block.dtype, x.dtype), block.shape
        x, data = x.astype(dtype, copy=False), block.data.astype(dtype, copy=False)
        indptr = block.indptr.astype(block.indices.dtype, copy=False)
        y = cupy.zeros((rows, *x.shape[1:]), dtype, order="F")
        if rows and y.size:
            kernel = _compiled(self.source, dtype.name, block.indices.dtype.name)
            grid = (-(-rows * self.threads_per_row // THREADS),)
            for own_x, own_y in [(x, y)] if x.ndim == 1 else zip(x.T, y.T, strict=True):
                own_x = cupy.ascontiguousarray(own_x)
                kernel(grid, (THREADS,), (np.int64(rows), indptr, block.indices, data, own_x, own_y))
        return y


@cache
def _compiled(source: str, value: str, index: str) -> Any:
    import cupy

    include = "#include <cupy/complex.cuh>\n" if value.startswith("complex") else ""
    types = f"typedef {VALUES[value]} VALUE;\ntypedef {INDICES[index]} INDEX;\n"
    kernel = cupy.RawKernel(f"{include}{types}#line 1\n{source}", NAME, options=("-std=c++17",))
    try:
        kernel.compile()
    except cupy.cuda.compiler.CompileException as error:
        raise UsageError(f"kernel= does not compile: {error}") from None
    return kernel
