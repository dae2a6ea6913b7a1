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

MOST_A_SIDE = 200
"""Chunks along an axis of a matrix."""


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
    """Chunks of 2048 × 2048, larger where there would be more than 100 a side, smaller where the budget is small.

    Of a budget they take no more than a 32nd where that leaves 128 × 128. Matrices that this cuts into too many chunks
    are refused: drawing up the plan would take minutes.
    """
    side = max(2048, math.ceil(params.n / 100))
    if params.memory is None:
        return side
    itemsize = 32 * max(8, dtype.itemsize)
    side = max(128, min(side, math.isqrt(params.memory // itemsize)))
    if params.n > MOST_A_SIDE * side:
        enough_mib = math.ceil(itemsize * math.ceil(params.n / MOST_A_SIDE) ** 2 / 2**20)
        raise osp.MemoryBudgetError(
            f"tile budget {params.memory / 2**20:g} MiB cuts matrices of n={params.n} into more than {MOST_A_SIDE} × "
            f"{MOST_A_SIDE} chunks: raise memory= to {enough_mib}MiB or lower n"
        )
    return side
