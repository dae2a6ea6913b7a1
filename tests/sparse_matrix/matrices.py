"""Matrices that tests of sparse matrices start from: of every shape of trouble, whole and in blocks."""

from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse
from hypothesis import strategies as st

from overspill.sparse import CSRMatrix

DTYPES = ("float32", "float64", "complex64", "complex128")


def numbers(rng: np.random.Generator, shape: Any, dtype: str) -> np.ndarray[Any, Any]:
    """Normal numbers of `dtype`."""
    x = rng.standard_normal(shape)
    return np.asarray(x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


@st.composite
def scipy_matrices(draw: st.DrawFn, *, square: bool = False) -> Any:
    """SciPy CSR arrays: without rows, columns or entries, with empty rows, duplicates, unsorted or 64-bit indices."""
    rows = draw(st.integers(0, 40))
    columns = rows if square else draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    nnz = draw(st.integers(0, 120)) if rows and columns else 0
    row, column = rng.integers(0, max(rows, 1), nnz), rng.integers(0, max(columns, 1), nnz)
    if draw(st.booleans()):  # a band, whose windows are narrow
        column = np.clip(row + rng.integers(-2, 3, nnz), 0, max(columns - 1, 0))
    order = np.argsort(row, kind="stable")
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    A = scipy.sparse.csr_array((rows, columns), dtype=draw(st.sampled_from(DTYPES)))
    index = draw(st.sampled_from([np.int32, np.int64]))
    A.data, A.indices, A.indptr = numbers(rng, nnz, A.dtype.name), column[order].astype(index), indptr.astype(index)
    return A


def random_matrix(rows: int, columns: int, dtype: str = "float64", *, density: float = 0.05, seed: int = 0) -> Any:
    """A SciPy CSR array of random numbers at random places."""
    rng = np.random.default_rng(seed)
    return scipy.sparse.csr_array(
        scipy.sparse.random_array(
            (rows, columns), density=density, rng=rng, dtype=dtype, data_sampler=lambda size: numbers(rng, size, dtype)
        )
    )


def in_blocks(A: Any, blocks: int, xp: ModuleType) -> CSRMatrix:
    """`A` in row blocks where the arrays of `xp` live."""
    matrix = CSRMatrix.from_scipy(A, blocks=blocks)
    return matrix if xp is np else matrix.to_device()
