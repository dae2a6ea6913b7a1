"""Sparse matrix-vector products on one GPU: our kernels beside cuSPARSE and the kernel that anyone writes first.

    python benchmarks/sparse_gpu.py [--nnz 268435456] [--dtypes float64,float32] [--sweep]

First all kernels multiply small matrices and are compared with SciPy; then every product of the large ones is compared
with SciPy's in double precision in some rows, and with the others' in all, before times count. Rates count values,
indices, row pointers, x and y once each, and are also given as a share of what copying reaches in the same process.
With ``--sweep`` our product is timed with each number of lanes a row, and by merge-path, too. Times are those of
CUDA's events around several products in a row. Writes ``results/sparse_gpu.json``.
"""

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
import sparse_checks
import sparse_matrices
import sparse_works
from sparse_checks import ROUNDINGS
from sparse_works import Product

IN_A_ROW = 5

SLOW_S = 0.05
"""A product that takes longer is timed three times by itself; ten times longer, once."""

COPIED = 2**31

K = 8


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnz", type=int, default=2**28, help="about how many entries a matrix has")
    parser.add_argument("--dtypes", default="float64,float32")
    parser.add_argument("--only", help=f"some of {','.join(sparse_matrices.MATRICES)}".replace("%", "%%"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--sweep", action="store_true", help="time every number of lanes, too")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    arguments = parser.parse_args()
    began = time.perf_counter()
    checked = sparse_checks.check_small(K)
    print(f"{checked} small products agree with SciPy's ({time.perf_counter() - began:.1f} s)", flush=True)
    copy = copy_rate(arguments.repeats)
    print(f"copying: {copy:.0f} GB/s\n{'matrix':<16}{'type':<9}{'product by':<20}{'ms':>9}{'GB/s':>8}  of copying")
    found: dict[str, Any] = {"copy_gb_per_s": copy, "nnz": arguments.nnz, "matrices": {}}
    for name in arguments.only.split(",") if arguments.only else sparse_matrices.MATRICES:
        found["matrices"][name] = {}
        for dtype in arguments.dtypes.split(","):
            found["matrices"][name][dtype] = compete(name, dtype, arguments, copy)
            # What was measured must stay even if the rest is cut off.
            path = record.write("sparse_gpu", found | {"ratios": ratios(found)}, arguments.results)
    for rival, ratio in ratios(found).items():
        print(f"against {rival}: {ratio['geometric_mean']:.2f} times as fast, {ratio['least']:.2f} at least")
    print(f"written: {path} ({time.perf_counter() - began:.0f} s)")


def compete(name: str, dtype: str, arguments: argparse.Namespace, copy: float) -> dict[str, Any]:
    """All products of one matrix: checked, then timed."""
    import cupy

    from overspill.kernels import csr_choice, csr_facts, csr_known, csr_residence, csr_schedule

    cupy.get_default_memory_pool().free_all_blocks()
    A = sparse_works.block(sparse_matrices.MATRICES[name](cupy, arguments.nnz), dtype)
    x = sparse_works.numbers(cupy, A.shape[1], dtype)
    absolute = csr_residence.make(abs(A.data), A.indices, A.indptr, A.shape[1])
    nbytes = sum(array.nbytes for array in (A.data, A.indices, A.indptr, x)) + A.shape[0] * x.itemsize
    choice = csr_known.known(A, csr_schedule.choose)
    lanes = None if choice is None else choice.lanes
    longest = csr_facts.profile(A.indptr).longest
    result: dict[str, Any] = {"shape": A.shape, "nnz": A.nnz, "nbytes": nbytes, "lanes": lanes, "longest_row": longest}

    def timed(label: str, make: Callable[[], Product], reference: Any, sizes: Any, moved: int) -> dict[str, Any]:
        try:
            outcome = measured(make(), reference, sizes, moved, arguments.repeats)
        except Exception as error:
            outcome = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        print(line(name, dtype, label, outcome, copy), flush=True)
        return outcome

    sizes = sparse_works.overspill(absolute, abs(x))()
    reference = sparse_works.overspill(A, x)()
    result["error"] = sparse_checks.compare_with_scipy(A, x, reference, sizes)
    result["matvec"] = {
        label: timed(label, functools.partial(make_product, A, x), reference, sizes, nbytes)
        for label, make_product in sparse_works.CONTENDERS.items()
    }
    if arguments.sweep:
        widths = [width for width in csr_choice.WIDTHS if longest <= 4096 * width]
        result["sweep"] = {
            str(width or "merge"): timed(
                f"- {f'{width} lanes' if width else 'merge-path'}",
                functools.partial(sparse_works.overspill_by, A, x, width),
                reference,
                sizes,
                nbytes,
            )
            for width in [*widths, None]
        }
    if name in ("banded 16", "Poisson 7", "random 16", "power law"):
        z = sparse_works.numbers(cupy, A.shape[0], dtype)
        result["transposed"] = of_both(timed, "A.T", sparse_works.transposed, (A, z), (absolute, abs(z)), nbytes)
        X = sparse_works.numbers(cupy, A.shape[1] * K, dtype).reshape(-1, K)
        moved = nbytes + (K - 1) * (x.nbytes + A.shape[0] * x.itemsize)
        result["columns"] = of_both(timed, f"{K} columns", sparse_works.columns, (A, X), (absolute, abs(X)), moved)
    return result


def of_both(
    timed: Callable[..., dict[str, Any]],
    what: str,
    products: Callable[..., dict[str, Product]],
    operands: tuple[Any, Any],
    absolutes: tuple[Any, Any],
    moved: int,
) -> dict[str, Any]:
    """Ours and CuPy's of another kind of product."""
    own = products(*operands)
    reference, sizes = own["overspill"](), products(*absolutes)["overspill"]()
    return {
        label: timed(f"{label} {what}", functools.partial(own.get, label), reference, sizes, moved) for label in own
    }


def measured(product: Product, reference: Any, sizes: Any, moved: int, repeats: int) -> dict[str, Any]:
    """Check a product against the reference, then time it."""
    import cupy

    y = product()
    kind = np.finfo(y.dtype)
    roundings = float((abs(y - reference) / cupy.maximum(sizes, kind.tiny)).max()) / float(kind.eps)
    if not roundings <= ROUNDINGS:
        raise AssertionError(f"off by {roundings:.0f} roundings")
    (once,) = event_times(product, 1, 1)
    if once > SLOW_S:
        seconds = [once, *event_times(product, 0 if once > 10 * SLOW_S else 2, 1)]
    else:
        seconds = event_times(product, repeats, IN_A_ROW)
    median = statistics.median(seconds)
    return {"seconds": seconds, "median_s": median, "gb_per_s": moved / median / 1e9, "roundings": roundings}


def event_times(product: Product, repeats: int, in_a_row: int) -> list[float]:
    """Seconds of one product each, of so many in a row."""
    import cupy

    seconds = []
    for _ in range(repeats):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        for _ in range(in_a_row):
            product()
        stop.record()
        stop.synchronize()
        seconds.append(cupy.cuda.get_elapsed_time(start, stop) / 1e3 / in_a_row)
    return seconds


def copy_rate(repeats: int) -> float:
    """What a copy within the GPU reads and writes, in GB/s."""
    import cupy

    source, target = cupy.zeros(COPIED, np.uint8), cupy.zeros(COPIED, np.uint8)
    seconds = event_times(lambda: target.data.copy_from_device_async(source.data, COPIED), repeats + 1, IN_A_ROW)
    return 2 * COPIED / statistics.median(seconds[1:]) / 1e9


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """How many times as fast ours is, over all matrices and types that a rival finished."""
    collected: dict[str, dict[str, float]] = {}
    for name, types in found["matrices"].items():
        for dtype, result in types.items():
            own = result["matvec"]["overspill"]
            for rival, outcome in result["matvec"].items():
                if rival != "overspill" and "median_s" in own and "median_s" in outcome:
                    collected.setdefault(rival, {})[f"{name}, {dtype}"] = outcome["median_s"] / own["median_s"]
    return {
        rival: {
            "geometric_mean": math.exp(statistics.fmean(map(math.log, each.values()))),
            "least": min(each.values()),
            "each": each,
        }
        for rival, each in collected.items()
    }


def line(name: str, dtype: str, label: str, outcome: dict[str, Any], copy: float) -> str:
    """A row of the table."""
    start = f"{name:<16}{dtype:<9}{label:<20}"
    if "failed" in outcome:
        return f"{start}{outcome['failed'].splitlines()[0]}"
    rate = outcome["gb_per_s"]
    return f"{start}{1e3 * outcome['median_s']:>9.3f}{rate:>8.0f}{rate / copy:>12.2f}"


if __name__ == "__main__":
    main()
