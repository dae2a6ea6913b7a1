"""Means of elementwise expressions on two single-threaded worker processes, in one pass and as stock Dask does it.

    python benchmarks/elementwise_cpu.py [--nbytes 512MiB] [--chunk 16MiB] [--repeats 7]

Prints the rates of contenders timed in turn in one run, after comparing their results, for operands in memory: this
library's `elementwise` and `mean`, the same expression of Dask arrays, and, where they are installed, numexpr and numba
a chunk. Before that, while no contender has left memory behind, the peak memory of all processes beside the plan's
figure. Writes ``results/elementwise_cpu.json``.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import memory_use
import numpy as np
import record
from distributed import wait

import overspill as osp
from overspill.units import format_nbytes, parse_nbytes

WORKERS = 2


def wave(x: Any) -> Any:
    """Sines and a product."""
    return np.sin(x) ** 2 + np.cos(x) * x


def rational(x: Any) -> Any:
    """Arithmetic alone."""
    return (x * 3 + 1) * x - (x - 2) / (x * x + 1)


def bell(x: Any) -> Any:
    """Exponentials and their kin."""
    return np.exp(-x * x) * np.tanh(x) + np.log1p(np.abs(x))


EXPRESSIONS: dict[Callable[[Any], Any], str] = {
    wave: "sin(x)**2 + cos(x)*x",
    rational: "(x*3 + 1)*x - (x - 2)/(x*x + 1)",
    bell: "exp(-x*x)*tanh(x) + log1p(abs(x))",
}
"""The functions, and what numexpr calls the same."""


def main() -> None:
    """Time every expression in both precisions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nbytes", default="512MiB")
    parser.add_argument("--chunk", default="16MiB")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    arguments = parser.parse_args()
    nbytes, chunk_nbytes = parse_nbytes(arguments.nbytes), parse_nbytes(arguments.chunk)
    outcomes: dict[str, dict[str, list[float]]] = {}
    peaks: dict[str, dict[str, int]] = {}
    with osp.cluster(gpu=False, n_workers=WORKERS, dashboard_address=None):
        for dtype in ("float32", "float64"):
            itemsize = np.dtype(dtype).itemsize
            generator = da.random.default_rng(np.random.PCG64(0))
            x = (10 * generator.random(nbytes // itemsize, chunks=chunk_nbytes // itemsize)).astype(dtype).persist()
            wait(x)
            names = {expression: f"{expression.__name__}, {dtype}" for expression in EXPRESSIONS}
            peaks |= {name: peak_nbytes(fused_mean(expression, x)) for expression, name in names.items()}
            for expression, name in names.items():
                outcomes[name] = race(contenders(expression, x), arguments.repeats)
                report(name, outcomes[name], peaks[name], x.nbytes)
            del x
    settings = {"nbytes": nbytes, "chunk_nbytes": chunk_nbytes, "workers": WORKERS}
    figures = {"settings": settings, "seconds": outcomes, "peak_nbytes": peaks}
    path = record.write("elementwise_cpu", figures, arguments.results)
    print(f"\nwritten: {path}")


def report(name: str, seconds: dict[str, list[float]], peak: dict[str, int], nbytes: int) -> None:
    """Print what is known of one expression."""
    measured, planned = peak["measured"], peak["planned"]
    print(f"\n{name}: peak memory {format_nbytes(measured)}, {measured / planned:.2f} of the plan's")
    print(f"  {'contender':<12} {'min':>7} {'median':>7} {'max':>7}   GB/s  of stock, pair by pair")
    for contender, times in seconds.items():
        ratio = statistics.median(stock / own for stock, own in zip(seconds["stock dask"], times, strict=True))
        rate = nbytes / statistics.median(times) / 1e9
        print(f"  {contender:<12} {record.spread(times)} {rate:6.2f}  {ratio:.2f}", flush=True)


def fused_mean(expression: Callable[[Any], Any], x: da.Array) -> da.Array:
    """The mean as this library builds it."""
    return osp.mean(osp.elementwise(expression)(x))


def peak_nbytes(y: da.Array) -> dict[str, int]:
    """What computing `y` takes, of all processes together, measured and planned."""
    plan = osp.plan(y)
    with memory_use.sampled(interval_s=0.02) as peak:
        y.compute()
    return {"measured": peak.nbytes, "planned": plan.peak_host_nbytes}


def contenders(expression: Callable[[Any], Any], x: da.Array) -> dict[str, da.Array]:
    """The mean of `expression` as each contender builds it."""
    built = {"stock dask": expression(x).mean(), "overspill": fused_mean(expression, x)}
    if importlib.util.find_spec("numexpr"):
        built["numexpr"] = x.map_blocks(with_numexpr, EXPRESSIONS[expression], dtype=x.dtype).mean()
    if importlib.util.find_spec("numba"):
        built["numba"] = x.map_blocks(with_numba, expression, dtype=x.dtype).mean()
    return built


def with_numexpr(x: np.ndarray, text: str) -> np.ndarray:
    """A chunk, by numexpr on this thread alone."""
    import numexpr

    numexpr.set_num_threads(1)
    return numexpr.evaluate(text, local_dict={"x": x})


def with_numba(x: np.ndarray, expression: Callable[[Any], Any]) -> np.ndarray:
    """A chunk, by numba, compiled once in each process."""
    import numba

    if expression not in _compiled:
        element = numba.njit(error_model="numpy")(expression)

        @numba.njit(error_model="numpy")
        def loop(x: np.ndarray, out: np.ndarray) -> None:
            for i in range(x.size):
                out[i] = element(x[i])

        _compiled[expression] = loop
    out = np.empty_like(x)
    _compiled[expression](x, out)
    return out


_compiled: dict[Callable[[Any], Any], Callable[..., None]] = {}


def race(means: dict[str, da.Array], repeats: int) -> dict[str, list[float]]:
    """Seconds of every contender, in turn; the first round warms up, and checks."""
    seconds: dict[str, list[float]] = {name: [] for name in means}
    expected = float(means["stock dask"].compute())
    for repeat in range(-1, repeats):
        for name, mean in means.items():
            start = time.perf_counter()
            found = float(mean.compute())
            elapsed = time.perf_counter() - start
            assert abs(found - expected) <= 1e-5 * abs(expected), f"{name} says {found}, stock dask {expected}"
            if repeat >= 0:
                seconds[name].append(elapsed)
    return seconds


if __name__ == "__main__":
    main()
