"""y = A x of a random sparse matrix by a CUDA kernel of your own, beside Overspill's; without a GPU, by SciPy alone.

The kernel is the first that anyone writes: one thread a row. `benchmarks/sparse_gpu.py` times it beside Overspill's and
cuSPARSE.
"""

from dataclasses import dataclass
from typing import Literal

import dask.array as da
import numpy as np

import overspill as osp

KERNEL = r"""
extern "C" __global__ void matvec(
    long long rows, const INDEX* indptr, const INDEX* indices, const VALUE* data, const VALUE* x, VALUE* y) {
    // In 64 bits, or rows past 2^31 threads would wrap round.
    const long long row = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    // The last threads have no row.
    if (row >= rows) return;
    VALUE sum = 0;
    for (INDEX entry = indptr[row]; entry < indptr[row + 1]; ++entry) sum += data[entry] * x[indices[entry]];
    y[row] = sum;
}
"""

SAMPLED_ROWS = 10_000


@dataclass(frozen=True)
class Params:
    """Parameters of the matrix."""

    n: int = 100_000
    """Rows and columns."""

    nnz_per_row: int = 16
    """Entries of each row, in random columns."""

    dtype: Literal["float32", "float64", "complex64", "complex128"] = "float64"
    """Element type."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    seed: int = 0
    """Of the random numbers."""

    def __post_init__(self) -> None:
        if not 0 <= self.nnz_per_row <= self.n:
            raise ValueError(f"nnz_per_row={self.nnz_per_row} does not fit in rows of n={self.n}: take 0 to {self.n}")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative: take 0 or more")


def build(params: Params) -> dict[str, da.Array]:
    A, x = matrix(params).to_device(), vector(params)
    kernel = KERNEL if A.residence == "device" else None
    return {"custom": osp.to_host(osp.sparse.matvec(A, x, kernel=kernel)), "ours": osp.to_host(A @ x)}


def check(params: Params, results: dict) -> list[osp.Check]:
    """Both against each other everywhere, and against SciPy in double precision in the first rows."""
    custom, ours = results["custom"], results["ours"]
    # Entries and x are between 0 and 1: so many roundings of sums that are no larger than their number of terms.
    bound = 2 * (params.nnz_per_row + 2) * params.nnz_per_row * float(np.finfo(params.dtype).eps)
    where = "" if matrix(params).to_device().residence == "device" else " (there is no GPU: both are SciPy's)"
    apart = float(abs(custom - ours).max().compute()) if params.n else 0.0
    rows = min(params.n, SAMPLED_ROWS)
    exact = matrix(params)[:rows].to_scipy().astype(np.complex128) @ vector(params).compute().astype(np.complex128)
    off = float(abs(np.asarray(custom[:rows]) - exact).max()) if params.n else 0.0
    first = f"its first {rows} elements are off SciPy's in double precision by {off:.1e}"
    return [
        osp.Check(apart <= bound, f"the kernel's product is off Overspill's by {apart:.1e}{where}", apart, bound),
        osp.Check(off <= bound, first, off, bound),
    ]


def matrix(params: Params) -> osp.sparse.CSRMatrix:
    return osp.sparse.random((params.n, params.n), nnz_per_row=params.nnz_per_row, dtype=params.dtype, seed=params.seed)


def vector(params: Params) -> da.Array:
    # A BitGenerator of NumPy's makes NumPy chunks, on clusters of GPUs too.
    rng = da.random.default_rng(np.random.PCG64([params.seed, 1]))
    return rng.random(params.n, chunks=(matrix(params).row_chunks,)).astype(params.dtype)
