"""Float64 products on two single-threaded worker processes: this library, NumPy with two threads, and stock Dask.

    python benchmarks/matmul_cpu.py [--n 8192] [--repeats 5]

Prints the speeds of contenders timed in turn in one run, after comparing their results, and the peak memory of a whole
product, operands included, beside the plan's figure. Writes ``results/matmul_cpu.json``.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import dask.array as da
import memory_use
import numpy as np
import record
from distributed import wait

import overspill as osp

WORKERS = 2


def main() -> None:
    """Measure memory first, while nothing else is in it, then the contenders in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=8192)
    parser.add_argument("--chunk", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    n, flop = arguments.n, 2 * arguments.n**3
    use_cores(WORKERS)
    with osp.cluster(gpu=False, n_workers=WORKERS, dashboard_address=None):
        a, b = (matrix(n, arguments.chunk, seed) for seed in (1, 2))
        product = osp.matmul(a, b)
        plan = osp.plan(product)
        print(plan, end="\n\n")
        with memory_use.sampled() as peak:
            result = product.persist()
            wait(result)
        print(
            f"peak memory, all processes: measured {peak.nbytes / 2**20:.0f} MiB, "
            f"planned {plan.peak_host_nbytes / 2**20:.0f} MiB ({peak.nbytes / plan.peak_host_nbytes:.2f} of it)"
        )
        reference = a.compute(), b.compute()
        expected = reference[0] @ reference[1]
        seconds = race(contenders(a, b, reference, arguments.chunk), expected, arguments.repeats)
    print(f"\n{'seconds':<28} {'min':>7} {'median':>7} {'max':>7}   GFLOP/s  of NumPy, pair by pair")
    for name, times in seconds.items():
        ratio = statistics.median(numpy / own for numpy, own in zip(seconds["numpy, 2 threads"], times, strict=True))
        print(f"{name:<28} {record.spread(times)}  {flop / statistics.median(times) / 1e9:8.1f}  {ratio:.3f}")
    path = record.write(
        "matmul_cpu",
        {
            "n": n,
            "chunk": arguments.chunk,
            "workers": WORKERS,
            "dtype": "float64",
            "seconds": seconds,
            "peak_nbytes": peak.nbytes,
            "planned_peak_nbytes": plan.peak_host_nbytes,
            "predicted_s": plan.predicted_s,
        },
    )
    print(f"\nwritten: {path}")


def use_cores(count: int) -> None:
    """Keep this process and the workers to come on `count` cores, so that NumPy's BLAS has as many threads."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        sys.exit(f"{count} cores are needed for the comparison, this machine has {len(cores)}")
    if len(cores) > count:
        os.sched_setaffinity(0, cores[:count])
        # BLAS makes its threads as it is loaded: begin again, now that there are fewer cores.
        os.execv(sys.executable, sys.orig_argv)


def matrix(n: int, chunk: int, seed: int) -> da.Array:
    """A random matrix, each chunk made from its own seed."""
    return da.random.default_rng(np.random.PCG64(seed)).random((n, n), chunks=chunk)


def contenders(
    a: da.Array, b: da.Array, reference: tuple[np.ndarray, np.ndarray], chunk: int
) -> dict[str, Callable[[], object]]:
    """Each contender's product of operands that are in its memory already."""
    tiles = [osp.to_host(x).persist() for x in (a, b)]
    large = [x.rechunk(2 * chunk).persist() for x in (a, b)]
    small = [x.persist() for x in (a, b)]
    wait([*tiles, *large, *small])
    return {
        "numpy, 2 threads": lambda: reference[0] @ reference[1],
        "overspill": lambda: osp.matmul(*tiles).persist(),
        f"stock dask, {2 * chunk}² chunks": lambda: (large[0] @ large[1]).persist(),
        f"stock dask, {chunk}² chunks": lambda: (small[0] @ small[1]).persist(),
    }


def race(products: dict[str, Callable[[], object]], expected: np.ndarray, repeats: int) -> dict[str, list[float]]:
    """Seconds of every contender, taken in turn so that a drift of the machine's speed meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in products}
    for repeat in range(-1, repeats):  # the first round warms up, and checks
        for name, product in products.items():
            start = time.perf_counter()
            result = product()
            wait(result)
            elapsed = time.perf_counter() - start
            if repeat < 0:
                error = np.abs(np.asarray(result) - expected).max() / np.abs(expected).max()
                assert error < 1e-12, f"{name} is wrong by {error}"
            else:
                seconds[name].append(elapsed)
            del result
    return seconds


if __name__ == "__main__":
    main()
