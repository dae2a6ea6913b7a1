from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse

from overspill.kernels import csr


def on(xp: ModuleType, x: Any) -> Any:
    """A matrix or an array where `xp` keeps it."""
    if xp is np:
        return x
    if isinstance(x, np.ndarray):
        return xp.asarray(x)
    from cupyx.scipy.sparse import csr_matrix

    return csr_matrix(x)


def test_a_small_product(xp: ModuleType) -> None:
    block = on(xp, scipy.sparse.csr_array([[1.0, 0, 2], [0, 0, 3]]))
    assert csr.matvec(block, xp.array([1.0, 10, 100])).tolist() == [201, 300]
    assert csr.rmatvec(block, xp.array([1.0, 10])).tolist() == [1, 0, 32]
