"""Who multiplies large matrices on GPUs without Dask: cuBLASXt, JAX, and CuPy on one GPU."""

import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import cublasxt
import known
import matmul_matrices
import numpy as np
from matmul_matrices import flop
from numpy.typing import NDArray

from overspill import backend, machine

DTYPE = "float64"

BLOCKS = (4096, 8192, 16384)
"""Sides of cuBLASXt's blocks, of which the best counts."""

BAND = 64
"""Rows that one thread makes, or adds up, at a time."""

ENOUGH_S = 15.0
"""Seconds after which cuBLASXt's product with blocks of one size is repeated no more."""

_PORTABLE = 1  # cudaHostRegisterPortable: locked for every device of the process


@dataclass(frozen=True, slots=True)
class Size:
    """How large products are, and how they are cut.

    Attributes
    ----------
    n
        Rows, and columns, of each matrix.
    chunk, device_chunk
        Rows, and columns, of a chunk in host memory, and of one in GPU memory.
    device_nbytes
        What a cluster may take on a GPU where operands and result are on the host; None for its own default.
    stock_scale
        What share of `n` stock Dask gets where it has to spill.
    repeats
        Products after the first one.
    """

    n: int
    chunk: int
    device_chunk: int
    device_nbytes: int | None
    stock_scale: float
    repeats: int


def rates(n: int, dtype: str, seconds: list[float]) -> dict[str, Any]:
    """What is told of a product that took so many seconds, the first time and then."""
    first_s, *warm_s = seconds
    rate = flop(n, dtype) / statistics.median(warm_s or [first_s]) / 1e12
    about = {"n": n, "dtype": dtype, "nbytes": 3 * n * n * np.dtype(dtype).itemsize, "flop": flop(n, dtype)}
    return about | {"first_s": first_s, "warm_s": warm_s, "tflop_per_s": rate}


def repeated(multiply: Callable[[], Any], repeats: int, enough_s: float = math.inf) -> tuple[Any, list[float]]:
    """The last product and the seconds of each; none is kept while the next one is made.

    After the first one there are `repeats` more, or fewer if those have taken `enough_s`, but one at least.
    """
    seconds: list[float] = []
    for _ in range(1 + repeats):
        if sum(seconds[1:]) > enough_s:
            break
        product = None
        start = time.perf_counter()
        product = multiply()
        seconds.append(time.perf_counter() - start)
    return product, seconds


def cublasxt_product(stack: ExitStack, size: Size, *, gpus: int | None = None) -> dict[str, Any]:
    """cuBLASXt on page-locked matrices, at the best of its block sizes; page-locking is not in its times."""
    gpus, n = gpus or len(backend.gpus()), size.n
    threads = stack.enter_context(ThreadPoolExecutor(machine.cpu_count()))
    a, b = (_page_locked(stack, threads, n, lambda band, start, name=name: _fill(band, name, start)) for name in "AB")
    out = _page_locked(stack, threads, n, lambda band, start: band.fill(np.nan))
    by_block: dict[int, Any] = {}
    for block in BLOCKS:
        try:
            with cublasxt.opened(range(gpus), block) as handle:
                _, seconds = repeated(lambda handle=handle: cublasxt.dgemm(handle, a, b, out), size.repeats, ENOUGH_S)
        except cublasxt.CublasError as error:
            by_block[block] = {"failed": str(error)}
            continue
        total = sum(threads.map(lambda start: float(out[start : start + BAND].sum()), range(0, n, BAND)))
        checked = matmul_matrices.check(n, DTYPE, total, lambda rows, columns: out[np.ix_(rows, columns)])
        by_block[block] = rates(n, DTYPE, seconds) | checked
        list(threads.map(lambda start: out[start : start + BAND].fill(np.nan), range(0, n, BAND)))
    done = {block: one for block, one in by_block.items() if "failed" not in one}
    if not done:
        raise cublasxt.CublasError(f"no block size will do: {by_block}")
    best = max(done, key=lambda block: done[block]["tflop_per_s"])
    return done[best] | {"gpus": gpus, "block": best, "by_block": by_block}


def cupy_product(stack: ExitStack, size: Size) -> dict[str, Any]:
    """`cupy.matmul` on one GPU, operands and result in its memory."""
    import cupy

    a, b = (_on_device(cupy, name, size) for name in "AB")
    out = cupy.empty_like(a)

    def multiply() -> Any:
        cupy.matmul(a, b, out=out)
        cupy.cuda.Device().synchronize()

    _, seconds = repeated(multiply, size.repeats)
    checked = matmul_matrices.check(
        size.n, DTYPE, float(out.sum()), lambda rows, columns: out[rows[:, None], columns[None, :]].get()
    )
    return rates(size.n, DTYPE, seconds) | {"gpus": 1, **checked}


def jax_sharded(stack: ExitStack, size: Size) -> dict[str, Any]:
    """One JAX program over all devices: operands and result cut along both axes of a mesh."""
    import jax

    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    mesh = jax.sharding.Mesh(np.array(devices).reshape(known.grid(len(devices))), ("rows", "columns"))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows", "columns"))
    whole = 0, size.n

    def operand(name: str) -> Any:
        make = jax.jit(lambda: matmul_matrices.block(jax.numpy, name, whole, whole, DTYPE), out_shardings=sharding)
        return make().block_until_ready()

    a, b = operand("A"), operand("B")
    matmul = jax.jit(jax.numpy.matmul, out_shardings=sharding)
    c, seconds = repeated(lambda: matmul(a, b).block_until_ready(), size.repeats)
    checked = matmul_matrices.check(
        size.n, DTYPE, float(c.sum()), lambda rows, columns: np.asarray(c[rows[:, None], columns[None, :]])
    )
    return rates(size.n, DTYPE, seconds) | {"gpus": len(devices), **checked}


def _on_device(cupy: Any, name: str, size: Size) -> Any:
    """An operand on one GPU, made band by band: what it takes on the way would not fit beside it."""
    x = cupy.empty((size.n, size.n), DTYPE)
    for start in range(0, size.n, size.device_chunk):
        band = x[start : start + size.device_chunk]
        band[...] = matmul_matrices.block(cupy, name, (start, start + len(band)), (0, size.n), DTYPE)
    cupy.get_default_memory_pool().free_all_blocks()
    return x


def _page_locked(
    stack: ExitStack, threads: ThreadPoolExecutor, n: int, fill: Callable[[NDArray[Any], int], None]
) -> NDArray[Any]:
    """A square matrix that all cores have written, and that GPUs read at the link's speed."""
    from cupy.cuda import runtime

    x = np.empty((n, n), DTYPE)
    for done in [threads.submit(fill, x[start : start + BAND], start) for start in range(0, n, BAND)]:
        done.result()
    runtime.hostRegister(x.ctypes.data, x.nbytes, _PORTABLE)
    stack.callback(runtime.hostUnregister, x.ctypes.data)
    return x


def _fill(band: NDArray[Any], name: str, start: int) -> None:
    matmul_matrices.fill(band, name, (start, start + len(band)), (0, band.shape[1]))
