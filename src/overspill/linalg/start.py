"""Random vectors to begin with: the same each time, of the kind that a matrix multiplies."""

import importlib
from typing import Any

import dask.array as da
import numpy as np

from overspill import backend
from overspill.linalg.arguments import common_dtype
from overspill.linalg.operators import Product, is_lazy
from overspill.ops.residence import to_device

SEED = 0


def random_vector(A: Any, size: int, like: Any = None, chunks: Any = "auto") -> Any:
    """``cos(pi * u)``, u even in (0, 1): a Dask array where products with `A` or `like` are, else NumPy or CuPy.

    Numbers distributed so are what the map ``x -> 4x³ - 3x`` makes into others as random; see
    `overspill.linalg.basis.another`. They have the products' element type: one is made where `A` does not tell.
    """
    if is_lazy(A) or isinstance(like, da.Array):
        rng = da.random.default_rng(np.random.PCG64(SEED))
        x = da.cos(np.pi * rng.random(size, chunks=getattr(like, "chunks", chunks)))
        if any(isinstance(y, da.Array) and backend.is_device_array(y._meta) for y in (like, A)):
            x = to_device(x)
    else:
        on_device = any(backend.is_device_array(x) for x in (like, A, getattr(A, "data", None)))
        xp = importlib.import_module("cupy") if on_device else np
        x = xp.cos(np.pi * xp.asarray(np.random.default_rng(SEED).random(size)))
    if getattr(A, "dtype", None) is None:
        return x.astype(Product(A)(x).dtype)
    dtype = common_dtype(*(x for x in (A, like) if getattr(x, "dtype", None) is not None))
    return x.astype(dtype)
