"""Sparse products on a GPU against SciPy's: all kernels on small matrices, and some rows of large ones."""

from typing import Any

import numpy as np
import scipy.sparse
import sparse_matrices
import sparse_works

SAMPLE = 1000
"""Rows in each of several places that are compared with SciPy's."""

ROUNDINGS = 400
"""Most by which products differ, in roundings of the sum of absolute values: sums here have up to 4 million terms."""


def compare_with_scipy(A: Any, x: Any, y: Any, sizes: Any) -> float:
    """Largest difference from SciPy in double precision in some rows, in units of the sums of absolute values."""
    on_host, float_type, worst = x.get().astype(np.float64), np.finfo(x.dtype.name), 0.0
    longest = int((A.indptr[1:] - A.indptr[:-1]).argmax())
    for row in (0, A.shape[0] // 3, longest, A.shape[0]):
        first = max(0, min(row, A.shape[0] - SAMPLE))
        stop = min(first + SAMPLE, A.shape[0])
        pointers = A.indptr[first : stop + 1].get()
        entries = slice(int(pointers[0]), int(pointers[-1]))
        data, indices = A.data[entries].get().astype(np.float64), A.indices[entries].get()
        part = scipy.sparse.csr_array((data, indices, pointers - pointers[0]), (stop - first, A.shape[1]))
        scale = np.maximum(sizes[first:stop].get(), float_type.tiny)
        worst = max(worst, float((abs(part @ on_host - y[first:stop].get()) / scale).max()))
    if not worst <= ROUNDINGS * float_type.eps:
        raise AssertionError(f"our product is off SciPy's by {worst:.1e} of the sum of absolute values")
    return worst


def check_small(k: int) -> int:
    """Compare all kernels with SciPy on small matrices, `k` columns for several; how many products were compared."""
    import cupy

    from overspill.kernels import csr, csr_choice

    count = 0
    for dtype in ("float64", "float32"):
        for name, make_arrays in sparse_matrices.MATRICES.items():
            A = sparse_works.block(make_arrays(cupy, 60_000), dtype)
            parts = (x.get() for x in (A.data.astype(np.float64), A.indices, A.indptr))
            on_host = scipy.sparse.csr_array(tuple(parts), A.shape)
            x = sparse_works.numbers(cupy, A.shape[1], dtype)
            X = sparse_works.numbers(cupy, A.shape[1] * k, dtype).reshape(-1, k)
            z = sparse_works.numbers(cupy, A.shape[0], dtype)
            products = [
                (on_host, x, lambda A=A, x=x: csr.matvec(A, x)),
                (on_host.T, z, lambda A=A, z=z: csr.rmatvec(A, z)),
                *((on_host, Y, lambda A=A, Y=Y: csr.matvec(A, Y)) for Y in (X, cupy.asfortranarray(X), X[:, :3])),
                *((on_host, x, sparse_works.overspill_by(A, x, width)) for width in (*csr_choice.WIDTHS, None)),
            ]
            for number, (matrix, operand, product) in enumerate(products):
                y, again = product().copy(), product()
                right, sizes = matrix @ operand.get().astype(np.float64), abs(matrix) @ abs(operand.get())
                bound = ROUNDINGS * np.finfo(dtype).eps * np.maximum(sizes, np.finfo(dtype).tiny)
                if not (abs(y.get() - right) <= bound).all():
                    raise AssertionError(f"product {number} of {name!r}, {dtype}, is off SciPy's")
                if y.get().tobytes() != again.get().tobytes():
                    raise AssertionError(f"product {number} of {name!r}, {dtype}, differs from time to time")
                count += 1
    return count
