"""What tests of several modules start from: matrices of every element type, ragged cuts, and resources to plan with."""

import os
import sys
from typing import Any, Literal

import dask.array as da
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from overspill import machine
from overspill.planning.resources import Rates, Resources

GPU_RATES = Rates(
    gemm_flop_per_s=dict.fromkeys(("float16", "float32", "float64", "complex64", "complex128", "integer"), 5e13),
    upload_per_s=5e10,
    download_per_s=4e10,
    both_ways_per_s=9e10,
    disk_per_s=1e9,
    recompute_per_s=1e9,
    memory_per_s=4e12,
    elementwise_per_s=1.5e13,
    task_s=5e-3,
    source="figures of a GPU made up for tests",
)

TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "complex64": 1e-5, "float64": 1e-12, "complex128": 1e-12}
"""Largest difference from NumPy's product, relative to its largest element."""


def matrix(shape: tuple[int, ...], dtype: str, seed: int = 0) -> NDArray[Any]:
    """Numbers of `dtype`: small ones for floats, the whole range for integers, so that products wrap."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return rng.integers(info.min, info.max, shape, kind, endpoint=True)
    if kind.kind == "b":
        return rng.random(shape) > 0.8
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if kind.kind == "c" else x).astype(kind)


def assert_product(c: Any, a: NDArray[Any], b: NDArray[Any]) -> None:
    """`c` is what NumPy makes of ``a @ b``: exactly for integers, to rounding for floats."""
    dtype = np.result_type(a, b)
    sums = np.dtype(np.float32) if dtype == np.float16 else dtype
    expected = (a.astype(sums) @ b.astype(sums)).astype(dtype)
    assert c.dtype == dtype
    assert c.shape == expected.shape
    if dtype.name not in TOLERANCE:
        np.testing.assert_array_equal(c, expected)
    elif expected.size:
        np.testing.assert_allclose(c, expected, rtol=0, atol=TOLERANCE[dtype.name] * max(np.abs(expected).max(), 1e-30))


def random_array(chunks: tuple[tuple[int, ...], ...], seed: int = 0, dtype: str = "float64") -> da.Array:
    """Lazy normal numbers whose chunks any task can make again."""
    rng = da.random.default_rng(np.random.PCG64(seed))
    x = rng.standard_normal(tuple(sum(axis) for axis in chunks), chunks=chunks)
    return x if dtype == "float64" else x.astype(dtype)


def cuts(largest_part: int = 60, most_parts: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    """Chunk sizes of an axis, ragged as they come."""
    return st.lists(st.integers(1, largest_part), min_size=1, max_size=most_parts).map(tuple)


def environment(**variables: str) -> dict[str, str]:
    """What a child process needs to import what this one does, installed or not."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)} | variables


def resources(
    device: Literal["cpu", "cuda"] = "cpu",
    *,
    workers: int = 1,
    threads: int = 1,
    device_nbytes: int = 0,
    pool_nbytes: int = 2**40,
) -> Resources:
    """Resources with fixed rates, the same on every machine."""
    host_rates = machine.cpu_rates()
    rates = GPU_RATES if device == "cuda" else host_rates
    return Resources(device, workers, threads, device_nbytes, pool_nbytes, rates, host_rates)
