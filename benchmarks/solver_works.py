"""What GPU solvers are measured at, one function a work and contender: what it finds, and how long it takes."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import sparse_matrices
from contenders import QUIET
from distributed import Client, wait

import overspill as osp
from overspill.linalg import resident
from overspill.linalg.cg import iterate
from overspill.sparse import CSRMatrix


@dataclass(frozen=True, slots=True)
class Size:
    """How large the problems are.

    Attributes
    ----------
    rows, band
        Rows of the matrix of the power iteration, and entries of each.
    side
        Points along an edge of the cube on which Poisson's equation is solved.
    steps, repeats
        Iterations timed together, and how often.
    gpus
        How many GPUs to use.
    """

    rows: int
    band: int
    side: int
    steps: int
    repeats: int
    gpus: int


def started(stack: ExitStack, gpus: int) -> Client:
    """This library's cluster on the first `gpus` GPUs."""
    visible = ",".join(map(str, range(gpus)))
    cluster = osp.cluster(gpu=True, CUDA_VISIBLE_DEVICES=visible, threads_per_worker=1, dashboard_address=None)
    return stack.enter_context(cluster).client


def band(size: Size, gpus: int) -> CSRMatrix:
    """The matrix of the power iteration: a full band, with a row block on each GPU."""
    offsets = range(-(size.band // 2), size.band - size.band // 2)
    values = [1.0 / (1 + abs(offset)) for offset in offsets]
    return osp.sparse.banded(size.rows, list(offsets), values, blocks=gpus).to_device().persist()


def cube(size: Size, gpus: int) -> CSRMatrix:
    """Poisson's equation on a cube, seven points, with a row block on each GPU."""
    return osp.sparse.poisson((size.side,) * 3, 7, blocks=gpus).to_device().persist()


def power_core(space: Any, A: Any, M: Any, *, progress: Any, x: Any, steps: int, repeats: int) -> Any:
    """The power iteration: the estimate of the eigenvalue, and the seconds of each `steps` of them."""
    seconds = []
    for repeat in range(-1, repeats):
        start = time.perf_counter()
        for _ in range(steps):
            y = A(x)
            xy, yy = space.dots((x, y), (y, y))
            x = space.update(y, scale=1 / yy**0.5)
        if repeat >= 0:
            seconds.append(time.perf_counter() - start)
    return (), (float(xy), seconds)


def cg_core(space: Any, A: Any, M: Any, *, progress: Any, b: Any, x: Any, steps: int, repeats: int) -> Any:
    """Conjugate gradients from the same guess, `steps` iterations each time: residuals, and seconds."""
    seconds, guess = [], x
    for repeat in range(-1, repeats):
        space.dots((b, b))  # all are there, and nothing is queued
        start = time.perf_counter()
        _, outcome = iterate(space, A, M, b=b, x=guess.copy(), rtol=0.0, atol=0.0, maxiter=steps, progress=progress)
        if repeat >= 0:
            seconds.append(time.perf_counter() - start)
    return (), (outcome.residual, seconds)


def power_resident(stack: ExitStack, size: Size) -> dict[str, Any]:
    """The power iteration as a solver on the workers."""
    started(stack, size.gpus)
    A = band(size, size.gpus)
    x = osp.to_device(da.ones(size.rows, chunks=(A.row_chunks,)))
    options = {"steps": size.steps, "repeats": size.repeats}
    _, (value, seconds) = resident.solve(power_core, A, {"x": x}, None, options, progress=ignore)
    return {"value": value, "seconds": seconds}


def power_stock(stack: ExitStack, size: Size) -> dict[str, Any]:
    """The same with stock Dask: a cupyx matrix on each worker, the vector gathered by each product."""
    from dask_cuda import LocalCUDACluster

    visible = list(range(size.gpus))
    cluster = stack.enter_context(LocalCUDACluster(CUDA_VISIBLE_DEVICES=visible, protocol="tcp", **QUIET))
    client = stack.enter_context(Client(cluster))
    cuts = [size.rows * number // size.gpus for number in range(size.gpus + 1)]
    workers = sorted(client.nthreads())
    blocks = [
        client.submit(stock_block, start, stop, size.rows, size.band, workers=[worker], pure=False)
        for start, stop, worker in zip(cuts[:-1], cuts[1:], workers, strict=True)
    ]
    parts = [
        client.submit(stock_ones, stop - start, workers=[worker], pure=False)
        for start, stop, worker in zip(cuts[:-1], cuts[1:], workers, strict=True)
    ]
    wait([blocks, parts])
    seconds, steps = [], max(2, size.steps // 20)
    for repeat in range(-1, size.repeats):
        start_s = time.perf_counter()
        for _ in range(steps):
            found = [
                client.submit(stock_product, block, own, parts, workers=[worker], pure=False)
                for block, own, worker in zip(blocks, parts, workers, strict=True)
            ]
            sums = client.gather([client.submit(second, each, pure=False) for each in found])
            xy, yy = np.sum(sums, axis=0)
            parts = [client.submit(scaled, each, 1 / yy**0.5, pure=False) for each in found]
        wait(parts)
        if repeat >= 0:
            seconds.append((time.perf_counter() - start_s) * size.steps / steps)
    return {"value": float(xy), "seconds": seconds}


def stock_block(start: int, stop: int, n: int, entries: int) -> Any:
    """Rows of the band as a cupyx matrix with all columns."""
    import cupy
    import cupyx.scipy.sparse

    offsets = cupy.arange(-(entries // 2), entries - entries // 2)
    columns = cupy.arange(start, stop)[:, None] + offsets
    inside = (columns >= 0) & (columns < n)
    values = cupy.broadcast_to(1.0 / (1 + abs(offsets)), columns.shape)
    indptr = cupy.concatenate([cupy.zeros(1, "i4"), cupy.cumsum(inside.sum(axis=1)).astype("i4")])
    arrays = values[inside], columns[inside].astype("i4"), indptr
    return cupyx.scipy.sparse.csr_matrix(arrays, shape=(stop - start, n))


def stock_ones(n: int) -> Any:
    """A part of the first vector."""
    import cupy

    return cupy.ones(n)


def stock_product(block: Any, own: Any, parts: list[Any]) -> tuple[Any, tuple[float, float]]:
    """A worker's rows of the product, and its share of two sums."""
    import cupy

    y = block @ cupy.concatenate(parts)
    return y, (float(own @ y), float(y @ y))


def second(pair: tuple[Any, Any]) -> Any:
    """The sums."""
    return pair[1]


def scaled(pair: tuple[Any, Any], factor: float) -> Any:
    """The next vector's part."""
    return pair[0] * factor


def cg_resident(stack: ExitStack, size: Size) -> dict[str, Any]:
    """Conjugate gradients as a solver on all workers."""
    started(stack, size.gpus)
    A = cube(size, size.gpus)
    b = osp.to_device(da.ones(A.shape[0], chunks=(A.row_chunks,)))
    options = {"steps": size.steps, "repeats": size.repeats}
    _, (residual, seconds) = resident.solve(cg_core, A, {"b": b, "x": 0 * b}, None, options, progress=ignore)
    return {"value": residual, "seconds": seconds}


def cg_resident_on_one(stack: ExitStack, size: Size) -> dict[str, Any]:
    """The same on one GPU."""
    return cg_resident(stack, Size(size.rows, size.band, size.side, size.steps, size.repeats, 1))


def cg_cupyx(stack: ExitStack, size: Size) -> dict[str, Any]:
    """CuPy's own on one GPU, on the same matrix."""
    import cupy
    import cupyx.scipy.sparse.linalg

    indptr, columns, shape = sparse_matrices.poisson7(cupy, 7 * size.side**3)
    rows = cupy.searchsorted(indptr, cupy.arange(columns.size, dtype=np.int32), side="right") - 1
    values = cupy.where(columns == rows, 6.0, -1.0)
    A = cupyx.scipy.sparse.csr_matrix((values, columns, indptr), shape=shape)
    del rows, values
    b, seconds = cupy.ones(A.shape[0]), []
    for repeat in range(-1, size.repeats):
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        x, _ = cupyx.scipy.sparse.linalg.cg(A, b, rtol=0.0, atol=0.0, maxiter=size.steps)
        cupy.cuda.Device().synchronize()
        if repeat >= 0:
            seconds.append(time.perf_counter() - start)
    return {"value": float(cupy.linalg.norm(b - A @ x)), "seconds": seconds}


def ignore(iteration: int, residual: float, **restart: Any) -> None:
    """Progress that nobody looks at."""


WORKS = {
    "power": {"overspill": power_resident, "stock dask": power_stock},
    "cg": {"overspill": cg_resident, "overspill, one GPU": cg_resident_on_one, "cupyx, one GPU": cg_cupyx},
}
"""The contenders of each work, this library's first; all of one work must find the same value."""
