"""Float64 products with operands and result on the host, on all GPUs of this server, within a small device budget.

    python benchmarks/matmul_gpu.py [--n 32768] [--device-memory 4GiB] [--memory 200GiB] [--repeats 5]

Checks the result against rows and columns computed on the CPU, then times the first and the warm products, beside what
all GPUs reach together on a product of matrices that stay in their memory. Writes ``results/matmul_gpu.json``.
"""

import argparse
import statistics
import time
from typing import Any

import dask.array as da
import numpy as np
import record
from distributed import Client, wait

import overspill as osp
from overspill.memory import ledger

PEAK_SIDE = 16384
PEAK_S = 3.0
SAMPLES = 24


def main() -> None:
    """Check, then time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=32768)
    parser.add_argument("--chunk", type=int, default=4096)
    parser.add_argument("--device-memory", default="4GiB")
    parser.add_argument("--memory", help="byte budget for tiles; half of what is free unless given")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    n, flop = arguments.n, 2 * arguments.n**3
    budgets = {"memory": arguments.memory, "device_memory": arguments.device_memory}
    with osp.cluster(gpu=True, dashboard_address=None, **budgets) as cluster:
        client = cluster.client
        a, b = (osp.to_host(matrix(n, arguments.chunk, seed)).persist() for seed in (1, 2))
        wait([a, b])
        product = osp.matmul(a, b)
        plan = osp.plan(product)
        print(plan, end="\n\n")
        client.run(ledger.reset)
        start = time.perf_counter()
        result = product.persist()
        wait(result)
        first_s = time.perf_counter() - start
        error = sampled_error(a, b, result)
        measured = ledger.total(list(client.run(ledger.snapshot).values()))
        release(client, result)
        del result
        warm_s = [timed(client, product) for _ in range(arguments.repeats)]
        peak = sum(client.run(sustained_flop_per_s).values())
    print(f"largest relative error in {SAMPLES} rows and columns: {error:.1e}")
    assert error < 1e-12
    median = statistics.median(warm_s)
    print(
        f"first {first_s:.2f} s; warm {record.spread(warm_s)} s = {flop / median / 1e12:.1f} TFLOP/s, "
        f"{flop / median / peak:.3f} of the {peak / 1e12:.1f} that the GPUs sustain; predicted {plan.predicted_s:.3f} s"
    )
    print(
        f"stream buffers on a GPU: {measured['peak_device_nbytes'] / 2**30:.2f} GiB, "
        f"planned {plan.peak_device_nbytes / 2**30:.2f}"
    )
    path = record.write(
        f"matmul_gpu_{n}",
        {
            "n": n,
            "chunk": arguments.chunk,
            "dtype": "float64",
            "workers": cluster.resources.workers,
            "device_memory": arguments.device_memory,
            "error": error,
            "first_s": first_s,
            "warm_s": warm_s,
            "tflop_per_s": flop / median / 1e12,
            "peak_tflop_per_s": peak / 1e12,
            "ledger": measured,
            "plan": plan.to_dict(),
        },
    )
    print(f"written: {path}")


def matrix(n: int, chunk: int, seed: int) -> da.Array:
    """A random matrix in host memory, whatever Dask's array backend is, each chunk made from its own seed."""
    return da.random.default_rng(np.random.PCG64(seed)).random((n, n), chunks=chunk)


def timed(client: Client, product: da.Array) -> float:
    """Seconds of one product, its result freed again."""
    start = time.perf_counter()
    result = product.persist()
    wait(result)
    elapsed = time.perf_counter() - start
    release(client, result)
    return elapsed


def release(client: Client, result: da.Array) -> None:
    """Free a result on all workers, so that the next product is computed anew."""
    client.cancel(result)
    while any(client.run(_results_held).values()):
        pass


def _results_held(dask_worker: Any) -> int:
    return sum("product" in str(key) for key in dask_worker.data)


def sampled_error(a: da.Array, b: da.Array, result: da.Array) -> float:
    """Largest error of random rows and columns of the result, against the CPU, relative to their largest element."""
    rng = np.random.default_rng(3)
    worst = 0.0
    picks = np.sort(rng.choice(a.shape[0], SAMPLES, replace=False))
    for got, expected in ((result[picks], a[picks] @ b), (result[:, picks], a @ b[:, picks])):
        got_, expected_ = da.compute(got, expected)
        worst = max(worst, float(np.abs(got_ - expected_).max() / np.abs(expected_).max()))
    return worst


def sustained_flop_per_s() -> float:
    """What this worker's GPU sustains for a few seconds on operands in its own memory."""
    import cupy

    x = cupy.random.random((PEAK_SIDE, PEAK_SIDE))
    out = x @ x
    cupy.cuda.Device().synchronize()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < PEAK_S:
        cupy.matmul(x, x, out=out)
        cupy.cuda.Device().synchronize()
        count += 1
    return 2 * PEAK_SIDE**3 * count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
