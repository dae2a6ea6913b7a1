"""Lazy matrices on the host and on a GPU, and what comes back from there."""

from typing import Any

import dask.array as da
import numpy as np
import pytest

import overspill as osp
from overspill import backend

RESIDENCES = ["host", pytest.param("device", marks=pytest.mark.gpu)]


def on(residence: str, A: Any) -> Any:
    """`A` with its blocks or chunks there."""
    if residence == "host":
        return A
    return A.to_device() if isinstance(A, osp.sparse.CSRMatrix) else osp.to_device(A)


def here(x: Any) -> np.ndarray:
    """`x` as a NumPy array."""
    return backend.to_numpy(x.compute() if isinstance(x, da.Array) else x)
