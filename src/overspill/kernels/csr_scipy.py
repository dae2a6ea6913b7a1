"""Products of a row block with vectors on the CPU, by SciPy's compiled loops, which let go of the interpreter lock."""

from typing import Any

import scipy.sparse
from numpy.typing import NDArray


def matvec(block: scipy.sparse.csr_array, x: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """``block @ x``; see `overspill.kernels.csr.matvec`."""
    y: NDArray[Any] = block @ x
    if out is None:
        return y
    out[...] = y  # SciPy has no way to write there itself
    return out


def rmatvec(block: scipy.sparse.csr_array, x: NDArray[Any]) -> NDArray[Any]:
    """``block.T @ x``, a new array; see `overspill.kernels.csr.rmatvec`."""
    rows, columns = block.shape
    # SciPy's own transpose reads all 64-bit indices to learn whether 32 bits would do, and copies them if so.
    transposed = scipy.sparse.csc_array((columns, rows), dtype=block.dtype)
    transposed.data, transposed.indices, transposed.indptr = block.data, block.indices, block.indptr
    y: NDArray[Any] = transposed @ x
    return y
