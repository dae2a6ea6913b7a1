"""The peak that products are compared with: what GPUs sustain on products of matrices that stay in their memory."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matmul_matrices
from distributed import Client

SIDE = 16384

WARMING_S, LEAST_S = 1.0, 5.0
"""Seconds of products before those that count, until all GPUs are at it and clocks have settled, and of these."""


def of_workers(client: Client, dtype: str) -> list[float]:
    """TFLOP/s of each worker's GPU, all at once."""
    return list(client.run(_tflop_per_s, dtype).values())


def of_one_worker(client: Client, dtype: str) -> float:
    """TFLOP/s of one worker's GPU while the others rest."""
    (rate,) = client.run(_tflop_per_s, dtype, workers=sorted(client.nthreads())[:1]).values()
    return float(rate)


def of_devices(count: int, dtype: str) -> list[float]:
    """TFLOP/s of each of this process's first `count` GPUs, all at once."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda device: _tflop_per_s(dtype, device), range(count)))


def _tflop_per_s(dtype: str, device: int = 0) -> float:
    import cupy

    # Memory of its own: a worker's allocator would count it against the budget that its streams have filled.
    with cupy.cuda.Device(device), cupy.cuda.using_allocator(None):
        a, b = (matmul_matrices.block(cupy, name, (0, SIDE), (0, SIDE), dtype) for name in "AB")
        out: Any = cupy.empty_like(a)
        for least_s in (WARMING_S, LEAST_S):
            count, start = 0, time.perf_counter()
            while (elapsed_s := time.perf_counter() - start) < least_s:
                cupy.matmul(a, b, out=out)
                cupy.cuda.Device().synchronize()
                count += 1
    return count * matmul_matrices.flop(SIDE, dtype) / elapsed_s / 1e12
