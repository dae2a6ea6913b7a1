"""dask-cuda's own array operations, as its `local_cupy` benchmark writes them, on three times what fits the device."""

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, futures_of, wait
from numpy.typing import NDArray

import overspill as osp
from overspill import backend

EXCESS = 3
"""The data of each operation, in what all workers together keep in their upper tier."""


@dataclass(frozen=True, slots=True)
class Spilling:
    """A cluster's client, the module of its chunks, and the bytes of results that all its workers' upper tiers keep."""

    client: Client
    xp: str
    nbytes: int

    @property
    def side(self) -> int:
        """Rows of a square float64 matrix that is `EXCESS` times as large."""
        return math.isqrt(EXCESS * self.nbytes // 8)

    @property
    def length(self) -> int:
        """Elements of such a vector."""
        return EXCESS * self.nbytes // 8

    def evictions(self) -> int:
        """Values that have been taken off some tier so far."""
        figures = self.client.run(lambda dask_worker: dask_worker.data.figures())
        return sum(sum(worker["evictions"].values()) for worker in figures.values())


@pytest.fixture(
    scope="module",
    params=[
        "cpu",
        pytest.param("0", marks=pytest.mark.gpu),
        pytest.param("0,1", marks=pytest.mark.multi_gpu),
    ],
)
def spilling(request: pytest.FixtureRequest) -> Iterator[Spilling]:
    if request.param == "cpu":
        nbytes = 6 * 2**20
        with osp.cluster(
            gpu=False, n_workers=2, threads_per_worker=1, memory=nbytes, dashboard_address=None
        ) as started:
            yield Spilling(started.client, "numpy", nbytes)
    else:
        nbytes = 64 * 2**20
        with osp.cluster(
            gpu=True, CUDA_VISIBLE_DEVICES=request.param, memory="4GiB", device_memory=nbytes, dashboard_address=None
        ) as started:
            yield Spilling(started.client, "cupy", nbytes * started.resources.workers)


def numbers(xp: ModuleType, spans: list[tuple[int, int]], seed: int) -> Any:
    """Scattered numbers from 9.5 to 10.5, the same on every device, for these spans of indices along each axis."""
    mixed: Any = xp.uint32(seed)
    for indices in xp.meshgrid(*(xp.arange(*span, dtype=xp.uint32) for span in spans), indexing="ij", sparse=True):
        mixed = (indices ^ mixed) * xp.uint32(2654435761)
        mixed ^= mixed >> xp.uint32(15)
    return (mixed >> xp.uint32(8)).astype(xp.float64) * 2**-24 + 9.5


def _chunk(xp: str, seed: int, block_info: Any = None) -> Any:
    return numbers(importlib.import_module(xp), block_info[None]["array-location"], seed)


def _places(xp: str, seed: int, length: int, block_info: Any = None) -> Any:
    return ((_chunk(xp, seed, block_info) - 9.5) * length).astype("int64")


def held(spilling: Spilling, lazy: da.Array) -> da.Array:
    """`lazy`, computed, and held by the workers."""
    x = spilling.client.persist(lazy)
    wait(x)
    assert {future.status for future in futures_of(x)} == {"finished"}
    return x


def cut(length: int, parts: int) -> tuple[int, ...]:
    return tuple(length * (part + 1) // parts - length * part // parts for part in range(parts))


def made(spilling: Spilling, chunks: tuple[tuple[int, ...], ...], seed: int) -> tuple[da.Array, NDArray[Any]]:
    """The same numbers on the workers and here."""
    meta = importlib.import_module(spilling.xp).empty((0,) * len(chunks))
    lazy = da.map_blocks(_chunk, spilling.xp, seed, chunks=chunks, dtype=meta.dtype, meta=meta)
    return held(spilling, lazy), numbers(np, [(0, sum(axis)) for axis in chunks], seed)


def squares(spilling: Spilling, seed: int) -> tuple[da.Array, NDArray[Any]]:
    """A matrix in square chunks."""
    return made(spilling, (cut(spilling.side, 6),) * 2, seed)


def columns(spilling: Spilling, seed: int) -> tuple[da.Array, NDArray[Any]]:
    """A matrix in chunks of whole columns."""
    return made(spilling, ((spilling.side,), cut(spilling.side, 48)), seed)


def vector(spilling: Spilling, seed: int) -> tuple[da.Array, NDArray[Any]]:
    """A vector."""
    return made(spilling, (cut(spilling.length, 24),), seed)


def places(spilling: Spilling, seed: int) -> tuple[da.Array, NDArray[Any]]:
    """Indices into such a vector, an eighth as many as it has elements."""
    chunks = (cut(spilling.length // 8, 6),)
    meta = importlib.import_module(spilling.xp).empty((0,), np.int64)
    lazy = da.map_blocks(_places, spilling.xp, seed, spilling.length, chunks=chunks, dtype=meta.dtype, meta=meta)
    here = (numbers(np, [(0, sum(chunks[0]))], seed) - 9.5) * spilling.length
    return held(spilling, lazy), here.astype(np.int64)


Operands = tuple[Callable[[Spilling, int], tuple[da.Array, NDArray[Any]]], ...]

OPERATIONS: dict[str, tuple[Operands, Callable[..., Any]]] = {
    "transpose_sum": ((squares,), lambda x: (x + x.T).sum()),
    "transpose_sum, held": ((squares,), lambda x: x + x.T),
    "dot": ((squares, squares), lambda x, y: x.dot(y)),
    "fft": ((columns,), lambda x: np.fft.fft(x, axis=0)),
    "sum": ((squares,), lambda x: x.sum()),
    "mean": ((squares,), lambda x: x.mean()),
    "slice": ((squares,), lambda x: x[::3].copy()),
    "col_sum": ((vector, vector), lambda x, y: x + y),
    "col_mask": ((vector, vector), lambda x, y: x[y > 10]),
    "col_gather": ((vector, places), lambda x, places: x[places]),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operation(spilling: Spilling, operation: str) -> None:
    makers, body = OPERATIONS[operation]
    evictions = spilling.evictions()
    pairs = [make(spilling, seed) for seed, make in enumerate(makers, start=1)]
    expected = body(*(here for _, here in pairs))
    result = held(spilling, body(*(there for there, _ in pairs)))
    got = spilling.client.compute(result).result()
    assert backend.is_device_array(got) == (spilling.xp == "cupy")
    np.testing.assert_allclose(backend.to_numpy(got), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    for there, here in pairs:
        again = backend.to_numpy(spilling.client.compute(there).result())
        np.testing.assert_array_equal(again, here)  # what was spilled is what was made
    assert spilling.evictions() > evictions


def test_svd(spilling: Spilling) -> None:
    evictions = spilling.evictions()
    width = 48
    x, here = made(spilling, (cut(spilling.length // width, 24), (width,)), 1)
    u, s, v = (held(spilling, part) for part in np.linalg.svd(x))
    values = backend.to_numpy(spilling.client.compute(s).result())
    np.testing.assert_allclose(values, np.linalg.svd(here, compute_uv=False), rtol=1e-10)
    product = spilling.client.compute(abs((u * s).dot(v) - x).max()).result()
    assert float(product) < 1e-11 * values[0]
    assert spilling.evictions() > evictions
