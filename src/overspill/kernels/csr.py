"""Products of a row block of a sparse matrix with vectors, wherever the block lies."""

from typing import Any

import scipy.sparse

from overspill.errors import ArrayError
from overspill.kernels import csr_scipy


def matvec(block: Any, x: Any, out: Any = None) -> Any:
    """``block @ x`` where the block lies.

    The same block and operand give the same bits every time.

    Parameters
    ----------
    block
        CSR of shape (rows, columns), canonical: a ``scipy.sparse.csr_array``, or a ``cupyx.scipy.sparse.csr_matrix``
        on the current device; float32, float64, complex64 or complex128.
    x
        Shape (columns,) or (columns, k), on the host or the device as the block is, in any order.
    out
        What to write the result into, in C order, overlapping nothing; a new array unless given.

    Raises
    ------
    ArrayError
        `x` of another shape.

    Returns
    -------
    array
        Shape (rows,) or (rows, k), of the common type of both. On a device it is queued on the current stream.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> matvec(scipy.sparse.csr_array([[1.0, 0, 2], [0, 0, 3]]), np.array([1.0, 10, 100]))
    array([201., 300.])
    """
    _check(block, x, 1)
    if isinstance(block, scipy.sparse.csr_array):
        return csr_scipy.matvec(block, x, out)
    from overspill.kernels import csr_cuda

    return csr_cuda.matvec(block, x, out)


def rmatvec(block: Any, x: Any) -> Any:
    """``block.T @ x``, a new array where the block lies, without a transposed copy of the block.

    The same block and operand give the same bits every time.

    Parameters
    ----------
    block
        As `matvec` takes it.
    x
        Shape (rows,) or (rows, k), where the block lies.

    Raises
    ------
    ArrayError
        `x` of another shape.

    Returns
    -------
    array
        Shape (columns,) or (columns, k), of the common type of both. Nothing is conjugated.

    Examples
    --------
    >>> import numpy as np, scipy.sparse
    >>> rmatvec(scipy.sparse.csr_array([[1.0, 0, 2], [0, 0, 3]]), np.array([1.0, 10]))
    array([ 1.,  0., 32.])
    """
    _check(block, x, 0)
    if isinstance(block, scipy.sparse.csr_array):
        return csr_scipy.rmatvec(block, x)
    from overspill.kernels import csr_cuda

    return csr_cuda.rmatvec(block, x)


def _check(block: Any, x: Any, axis: int) -> None:
    needed, what = block.shape[axis], ("rows", "columns")[axis]
    if x.ndim not in (1, 2) or x.shape[0] != needed:
        raise ArrayError(
            f"x of shape {x.shape} does not match the {needed} {what} of a block: pass ({needed},) or ({needed}, k)"
        )
