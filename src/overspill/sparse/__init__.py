"""Sparse matrices larger than a GPU: row blocks of CSR, what makes them and what multiplies them."""

from overspill.sparse.block import Block
from overspill.sparse.from_memory import from_scipy
from overspill.sparse.from_triplets import from_coo
from overspill.sparse.matrix import CSRMatrix, of_function

__all__ = ["Block", "CSRMatrix", "from_coo", "from_scipy", "of_function"]
