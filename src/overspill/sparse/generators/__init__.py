"""Sparse matrices made by rule or by chance, block by block, alike however many blocks there are."""

from overspill.sparse.generators.banded import banded
from overspill.sparse.generators.poisson import poisson
from overspill.sparse.generators.random import random
from overspill.sparse.generators.rmat import rmat

__all__ = ["banded", "poisson", "random", "rmat"]
