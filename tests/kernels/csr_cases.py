"""Row blocks that give products trouble, and how far from exact a product may be."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from cases import matrix

COLUMNS = 3000

ROWS = {
    "regular": np.full(300, 16),
    "seven": np.full(201, 7),
    "long": np.full(70, 27),
    "short": np.arange(700) % 3 + 1,
    "mostly empty": np.where(np.arange(2000) % 11 == 3, np.arange(2000) % 17, 0),
    "power law": 2000 // (np.arange(600) + 1),
    "dense rows": np.concatenate([np.full(40, 3), [COLUMNS], np.zeros(30, int), [COLUMNS] * 6, np.full(5, 2)]),
    "one row": np.array([5]),
    "all empty": np.zeros(10, int),
    "no rows": np.zeros(0, int),
}
"""The number of entries in each row."""


def csr(lengths: NDArray[Any], columns: int, dtype: str, index: str = "int32", seed: int = 0) -> Any:
    """Normal numbers in so many distinct columns of each row."""
    rng = np.random.default_rng(seed)
    chosen = [np.sort(rng.permutation(columns)[:length]) for length in lengths]
    block = scipy.sparse.csr_array((len(lengths), columns), dtype=dtype)
    # SciPy's constructor would make 64-bit indices into 32-bit ones.
    block.indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(index)
    block.indices = np.concatenate([np.zeros(0, int), *chosen]).astype(index)
    block.data = matrix(block.indices.shape, dtype, seed)
    return block


def assert_close(y: NDArray[Any], A: Any, x: NDArray[Any]) -> None:
    """`y` is ``A @ x`` but for (n + 2) roundings of what is added up, n the most entries of a row; and of its type.

    SciPy's product of the same numbers in double precision has as many.
    """
    dtype = np.result_type(A.dtype, x.dtype)
    assert (y.shape, y.dtype) == ((A.shape[0], *x.shape[1:]), dtype)
    most = int(np.bincount(A.tocoo().row, minlength=1).max()) if A.nnz else 0
    unit = np.finfo(dtype).eps / 2
    exact = A.astype(np.complex128) @ x.astype(np.complex128)
    bound = 3 * (most + 2) * unit * (abs(A).astype(np.float64) @ abs(x).astype(np.float64))
    assert (abs(y - exact) <= bound).all()


def lane_steps(lengths: NDArray[Any], width: int) -> int:
    """What rows of a warp take together, warp by warp."""
    beside = 32 // width
    warps = [lengths[first : first + beside] for first in range(0, len(lengths), beside)]
    return sum(32 * -(-max(1, *rows.tolist()) // width) for rows in warps)
