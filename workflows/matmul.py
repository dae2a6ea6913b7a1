"""C = A @ B of two generated matrices, of a size that need not fit anywhere, verified by Freivalds' check."""

import math
from dataclasses import dataclass
from typing import Literal

import dask.array as da
import numpy as np

import overspill as osp

DType = Literal[
    "float64", "float32", "float16", "complex64", "complex128",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip


@dataclass(frozen=True)
class Params:
    """Parameters of the product."""

    n: int = 4096
    """Rows and columns of both matrices."""

    dtype: DType = "float64"
    """Element type."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    residence: Literal["auto", "host", "device"] = "auto"
    """Where the blocks of the result are kept before they are stored."""

    seed: int = 0
    """Of the random numbers."""

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError(f"n={self.n} is negative: a matrix has 0 rows or more")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative: take 0 or more")


def build(params: Params) -> dict[str, da.Array]:
    a, b = operands(params)
    return {"C": osp.matmul(a, b, memory=params.memory, residence=params.residence)}


def check(params: Params, results: dict[str, da.Array]) -> osp.Check:
    return osp.verify_matmul(*operands(params), results["C"], seed=params.seed + 1)


def operands(params: Params) -> tuple[da.Array, da.Array]:
    """A and B: standard normal, or small whole numbers; their chunks are cheap to make again, whenever needed."""
    return tuple(random_matrix(params, stream) for stream in (0, 1))


def random_matrix(params: Params, stream: int) -> da.Array:
    dtype = np.dtype(params.dtype)
    # A BitGenerator of NumPy's makes NumPy chunks, on clusters of GPUs too.
    rng = da.random.default_rng(np.random.PCG64([params.seed, stream]))
    shape, chunks = (params.n, params.n), chunk_side(params, dtype)
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else -9, 10, shape, dtype=dtype, chunks=chunks)
    if dtype.kind == "c":
        real, imaginary = (rng.standard_normal(shape, chunks=chunks) for _ in range(2))
        return (real + 1j * imaginary).astype(dtype)
    return rng.standard_normal(shape, chunks=chunks).astype(dtype)


def chunk_side(params: Params, dtype: np.dtype) -> int:
    """Chunks of up to 2048 × 2048, and of no more than a 32nd of the budget where that leaves 128 × 128."""
    most = 2048**2 if params.memory is None else params.memory // (32 * max(8, dtype.itemsize))
    return max(128, min(2048, math.isqrt(most)))
