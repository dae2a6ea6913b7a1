"""Sparse matrices larger than a GPU: row blocks of CSR, what makes them and what multiplies them."""

from overspill.sparse.block import Block
from overspill.sparse.matrix import CSRMatrix, of_function

__all__ = ["Block", "CSRMatrix", "of_function"]
