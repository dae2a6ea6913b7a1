"""Sparse matrices larger than a GPU: row blocks of CSR, what makes them and what multiplies them."""

from overspill.sparse.block import Block
from overspill.sparse.custom import matvec
from overspill.sparse.files import from_matrix_market, from_npz
from overspill.sparse.from_memory import from_scipy
from overspill.sparse.from_triplets import from_coo
from overspill.sparse.generators import banded, poisson, random, rmat
from overspill.sparse.matrix import CSRMatrix, of_function
from overspill.sparse.saving import save
from overspill.sparse.stored import open

__all__ = [
    "Block",
    "CSRMatrix",
    "banded",
    "from_coo",
    "from_matrix_market",
    "from_npz",
    "from_scipy",
    "matvec",
    "of_function",
    "open",
    "poisson",
    "random",
    "rmat",
    "save",
]
