"""Products of a row block with vectors on a GPU."""

from typing import Any


def matvec(block: Any, x: Any) -> Any:
    """Queue ``block @ x`` on the current stream; see `overspill.kernels.csr.matvec`."""
    return block @ x


def rmatvec(block: Any, x: Any) -> Any:
    """Queue ``block.T @ x`` on the current stream; see `overspill.kernels.csr.rmatvec`."""
    return block.T @ x
