"""What the benchmark of products computes, and who: each contender returns its figures once its product is checked."""

import operator
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

import contenders
import dask.array as da
import gemm_rate
import matmul_killed
import matmul_matrices
import matmul_peers
import memory_use
import numpy as np
from contenders import Limits
from distributed import Client
from matmul_matrices import flop
from matmul_peers import Size, rates
from numpy.typing import NDArray
from spill_works import held, timed

import overspill as osp
from overspill import backend, machine
from overspill.memory import ledger

Work = Callable[[ExitStack, Size], dict[str, Any]]

SMALL_NBYTES = 8 * 2**30
"""A budget on each GPU that is a fraction of what a product needs."""

HOST_SHARE = 0.8
"""Of the free host memory, for the workers of all clusters."""

ENOUGH_S = 40.0
"""Seconds after which a product is repeated no more."""

TYPES = ("float32", "float16", "complex64")

MANY_GPUS = 4
"""Fewer are lent with less host memory than the largest product takes."""


def on_host(
    stack: ExitStack, size: Size, *, gpus: int | None = None, device_nbytes: int | None = None, dtype: str = "float64"
) -> dict[str, Any]:
    """Operands and result in tiles, on the first `gpus` GPUs or all: what was planned, and what it came to."""
    gpus, device_nbytes = gpus or len(backend.gpus()), device_nbytes or size.device_nbytes
    context_nbytes, before = memory_use.context_nbytes(), memory_use.on_gpus_nbytes()
    client = started(stack, gpus, device_nbytes)
    start = time.perf_counter()
    a, b = host_operands(client, size.n, size.chunk, dtype)
    found = {"made_s": time.perf_counter() - start, "gpus": gpus, "limit_nbytes": device_nbytes or default_nbytes()}
    found |= planned_and_done(client, a, b, size.repeats, [context_nbytes + nbytes for nbytes in before])
    return found | {"peak_tflop_per_s": sum(gemm_rate.of_workers(client, dtype))}


def of_type(stack: ExitStack, size: Size, *, dtype: str) -> dict[str, Any]:
    """The same of another element type, beside what one GPU reaches alone."""
    found = on_host(stack, size, dtype=dtype)
    return found | {"one_gpu_tflop_per_s": gemm_rate.of_one_worker(Client.current(), dtype)}


def on_device(stack: ExitStack, size: Size) -> dict[str, Any]:
    """Operands and result in CuPy chunks, with as much of the GPUs as this library takes by default."""
    gpus = len(backend.gpus())
    context_nbytes, before = memory_use.context_nbytes(), memory_use.on_gpus_nbytes()
    client = started(stack, gpus, None)
    a, b = cupy_operands(client, size.n, size.device_chunk)
    found = planned_and_done(client, a, b, size.repeats, [context_nbytes + nbytes for nbytes in before])
    return found | {"gpus": gpus, "peak_tflop_per_s": sum(gemm_rate.of_workers(client, "float64"))}


def started(stack: ExitStack, gpus: int, device_nbytes: int | None, **keywords: Any) -> Client:
    """This library's cluster on the first `gpus` GPUs that this process sees."""
    keywords |= {"memory": host_nbytes(), "device_memory": device_nbytes}
    cluster = osp.cluster(gpu=True, CUDA_VISIBLE_DEVICES=contenders.visible(gpus), dashboard_address=None, **keywords)
    return stack.enter_context(cluster).client


def planned_and_done(client: Client, a: da.Array, b: da.Array, repeats: int, others: list[int]) -> dict[str, Any]:
    """The product's plan, its times, and bytes on a GPU as the driver tells, less those that `others` take there."""
    plan = osp.plan(osp.matmul(a, b))
    client.run(ledger.reset)
    with memory_use.sampled(
        lambda: max(map(operator.sub, memory_use.on_gpus_nbytes(), others)), interval_s=0.02
    ) as peak:
        c, seconds = timed(client, lambda: _product(client, osp.matmul(a, b)), repeats, ENOUGH_S)
    dtype, (product,) = a.dtype.name, plan.products
    resident_nbytes = plan.persisted.on_device_nbytes // plan.workers
    return rates(a.shape[0], dtype, seconds) | {
        "predicted_s": plan.predicted_s,
        "peak_device_nbytes": peak.nbytes,
        "planned_device_nbytes": plan.peak_device_nbytes + plan.driver_nbytes + plan.fetched_nbytes + resident_nbytes,
        "plan": asdict(product),
        "ledger": ledger.total(list(client.run(ledger.snapshot).values())),
        **check(client, c),
    }


def stock(stack: ExitStack, size: Size, *, cluster: Any, spilling: bool) -> dict[str, Any]:
    """CuPy chunks on dask-cuda: smaller ones, of a smaller product, where they have to spill."""
    scale = size.stock_scale if spilling else 1.0
    n = scaled(size, scale)
    limit_nbytes = int(SMALL_NBYTES * scale**2) if spilling else default_nbytes()
    client = stack.enter_context(cluster(Limits("cuda", limit_nbytes, host_nbytes())))
    a, b = cupy_operands(client, n, size.device_chunk)
    c, seconds = timed(client, lambda: _product(client, a @ b), size.repeats, ENOUGH_S)
    limit = {"limit_nbytes": limit_nbytes} if spilling else {}
    return rates(n, "float64", seconds) | limit | {"gpus": len(backend.gpus()), **check(client, c)}


def killed(stack: ExitStack, size: Size) -> dict[str, Any]:
    """Operands made in tiles and multiplied into tiles, on all GPUs, the worker of one of them killed half-way."""
    client = started(stack, len(backend.gpus()), size.device_nbytes)
    found = {"limit_nbytes": size.device_nbytes or default_nbytes()}
    return found | without_one(
        client, size.n, partial(host_operands, client, size.n, size.chunk, "float64"), osp.matmul
    )


def stock_killed(stack: ExitStack, size: Size) -> dict[str, Any]:
    """The same on dask-cuda with TCP, in GPU memory, smaller."""
    n = scaled(size, size.stock_scale)
    client = stack.enter_context(contenders.stock(Limits("cuda", default_nbytes(), host_nbytes())))
    return without_one(client, n, partial(cupy_operands, client, n, size.device_chunk), operator.matmul)


def without_one(client: Client, n: int, make: matmul_killed.Make, multiply: matmul_killed.Multiply) -> dict[str, Any]:
    """What runs took in which a worker was killed and was not, once the product of the former is found right."""
    c, found = matmul_killed.compared(client, make, multiply)
    about = {"n": n, "dtype": c.dtype.name, "nbytes": 3 * c.nbytes, "gpus": len(backend.gpus())}
    return about | found | check(client, c)


def host_operands(client: Client, n: int, chunk: int, dtype: str) -> tuple[da.Array, da.Array]:
    """Both operands, held in tiles."""
    a, b = (held(client, osp.to_host(matmul_matrices.array("numpy", name, n, chunk, dtype))) for name in "AB")
    return a, b


def cupy_operands(client: Client, n: int, chunk: int) -> tuple[da.Array, da.Array]:
    """Both operands, held on the GPUs."""
    a, b = (held(client, matmul_matrices.array("cupy", name, n, chunk, "float64")) for name in "AB")
    client.run(_synchronize)
    return a, b


def check(client: Client, c: da.Array) -> dict[str, float]:
    """What is told of a product that Dask holds, once it is found right."""

    def elements(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[Any]:
        picked = c[rows][:, columns].map_blocks(backend.to_numpy, dtype=c.dtype, meta=np.empty((0, 0), c.dtype))
        return np.asarray(client.compute(picked).result())

    total = client.compute(c.sum(dtype=np.result_type(c.dtype, np.float64))).result()
    return matmul_matrices.check(c.shape[0], c.dtype.name, complex(backend.to_numpy(total)), elements)


def scaled(size: Size, scale: float) -> int:
    """Rows of a matrix that is smaller by `scale`, in whole chunks."""
    return max(size.device_chunk, round(size.n * scale / size.device_chunk) * size.device_chunk)


def default_nbytes() -> int:
    """What this library would take of each GPU if not told otherwise."""
    return int(machine.DEVICE_FRACTION * min(gpu.nbytes for gpu in backend.gpus()))


def host_nbytes() -> int:
    """What all workers together may take in host memory."""
    return int(HOST_SHARE * machine.available_nbytes())


def peak(stack: ExitStack, size: Size, *, dtype: str) -> dict[str, Any]:
    """What all GPUs sustain at once on products in their own memory."""
    each = gemm_rate.of_devices(len(backend.gpus()), dtype)
    found = {"n": gemm_rate.SIDE, "dtype": dtype, "flop": flop(gemm_rate.SIDE, dtype), "gpus": len(each)}
    return found | {"tflop_per_s": sum(each), "each_tflop_per_s": each}


def _product(client: Client, lazy: da.Array) -> da.Array:
    """The product, once GPUs are done with what tasks have only queued."""
    c = held(client, lazy)
    if backend.residence_of(c._meta) == "device":
        client.run(_synchronize)
    return c


def _synchronize() -> None:
    import cupy

    cupy.cuda.Device().synchronize()


def competing(work: str, gpus: int) -> dict[str, Work]:
    """The contenders of a work on so many GPUs, this library's first."""
    if work != "scaling":
        return {} if work == "large" and gpus < MANY_GPUS else WORKS[work]
    counts = [count for count in (1, 2, 4, 8) if count <= gpus]
    return {f"overspill on {count} GPU{'s' * (count > 1)}": partial(on_host, gpus=count) for count in counts}


WORKS: dict[str, dict[str, Work]] = {
    "host": {
        "overspill": on_host,
        "cuBLASXt": matmul_peers.cublasxt_product,
        "stock dask on TCP": partial(stock, cluster=contenders.stock, spilling=True),
        "stock dask on UCXX and RMM": partial(stock, cluster=contenders.stock_with_ucxx, spilling=True),
    },
    "device": {
        "overspill": on_device,
        "stock dask on TCP": partial(stock, cluster=contenders.stock, spilling=False),
        "stock dask on UCXX and RMM": partial(stock, cluster=contenders.stock_with_ucxx, spilling=False),
        "jax": matmul_peers.jax_sharded,
    },
    "one": {
        "overspill": partial(on_host, gpus=1, device_nbytes=SMALL_NBYTES),
        "cuBLASXt": partial(matmul_peers.cublasxt_product, gpus=1),
        "cupy.matmul": matmul_peers.cupy_product,
    },
    "large": {"overspill": partial(on_host, device_nbytes=SMALL_NBYTES)},
    "types": {f"overspill, {dtype}": partial(of_type, dtype=dtype) for dtype in TYPES},
    "scaling": {},
    "killed": {"overspill": killed, "stock dask on TCP": stock_killed},
    "peak": {dtype: partial(peak, dtype=dtype) for dtype in ("float64", *TYPES)},
}
"""Contenders by work; those that scale depend on how many GPUs there are."""
