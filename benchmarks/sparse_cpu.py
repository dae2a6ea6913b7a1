"""Products of sparse matrices with vectors: two worker processes beside SciPy on one core, and beside stock Dask.

    python benchmarks/sparse_cpu.py [--nnz 16000000] [--repeats 7] [--only poisson,random,power-law]

The matrices lie in the workers' memory, in float64. ``A @ x`` is one product as a user asks for it, through Dask, until
its result lies on the workers; ``resident`` is one among many within a solver's long tasks. Stock Dask has the same row
blocks as SciPy matrices, two a worker, and the vector on both. Results are compared with SciPy's before times count;
contenders take turns. Writes ``results/sparse_cpu.json``.
"""

import argparse
import operator
import statistics
import time
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import record
from distributed import Client, Future, wait
from scipy.sparse import csr_array

import overspill as osp
from overspill.linalg import resident
from overspill.sparse import CSRMatrix

WORKERS = 2

BLOCKS = 2 * WORKERS

INNER = 20
"""Products in one of the solver's tasks."""


def poisson(nnz: int) -> CSRMatrix:
    """Seven points on a cube."""
    side = round((nnz / 7) ** (1 / 3))
    return osp.sparse.poisson((side, side, side), 7, blocks=BLOCKS)


def random(nnz: int) -> CSRMatrix:
    """Sixteen entries a row, anywhere."""
    return osp.sparse.random((nnz // 16, nnz // 16), nnz_per_row=16, seed=1, blocks=BLOCKS)


def power_law(nnz: int) -> CSRMatrix:
    """Rows of very different lengths."""
    scale = int(np.log2(nnz / 16))
    return osp.sparse.rmat(scale, 16, seed=1, blocks=BLOCKS)


MATRICES: dict[str, Callable[[int], CSRMatrix]] = {"poisson": poisson, "random": random, "power-law": power_law}


def main() -> None:
    """Time every matrix."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nnz", type=int, default=16_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", help=f"some of {','.join(MATRICES)}")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    arguments = parser.parse_args()
    outcomes: dict[str, Any] = {}
    with osp.cluster(gpu=False, n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster:
        for name in arguments.only.split(",") if arguments.only else MATRICES:
            A = MATRICES[name](arguments.nnz).persist()
            wait(A)
            whole = A.to_scipy()
            seconds = race(contenders(cluster.client, A, whole), arguments.repeats)
            outcomes[name] = {"rows": A.shape[0], "nnz": whole.nnz, "seconds": seconds}
            report(name, whole, seconds)
            del A, whole
    settings = {"nnz": arguments.nnz, "workers": WORKERS, "blocks": BLOCKS, "dtype": "float64"}
    path = record.write("sparse_cpu", {"settings": settings, "outcomes": outcomes}, arguments.results)
    print(f"\nwritten: {path}")


def contenders(client: Client, A: CSRMatrix, whole: csr_array) -> dict[str, Callable[[], float]]:
    """What multiplies once, and says how many seconds it took; each is checked here."""
    x = np.random.default_rng(0).random(A.shape[1])
    expected = whole @ x
    on_workers = da.from_array(x, chunks=(A.row_chunks,)).persist()
    blocks = client.scatter([whole[start:stop] for start, stop in pairwise((0, *accumulate(A.row_chunks)))], hash=False)
    same_x = client.scatter(x, broadcast=True, hash=False)
    wait(on_workers)

    def by_blocks() -> list[Future]:
        return client.map(operator.matmul, blocks, [same_x] * len(blocks), pure=False)

    def scipy() -> float:
        start = time.perf_counter()
        whole @ x
        return time.perf_counter() - start

    def stock() -> float:
        start = time.perf_counter()
        wait(by_blocks())
        return time.perf_counter() - start

    def overspill() -> float:
        start = time.perf_counter()
        wait((A @ on_workers).persist())
        return time.perf_counter() - start

    def within_a_solver() -> float:
        _, seconds = resident.solve(products, A, {"x": on_workers}, None, {"count": INNER}, progress=ignore)
        return seconds

    y, _ = resident.solve(products, A, {"x": on_workers}, None, {"count": 1}, progress=ignore)
    for name, found in {
        "stock dask": np.concatenate(client.gather(by_blocks())),
        "overspill A @ x": (A @ on_workers).compute(),
        "overspill resident": y[0].compute(),
    }.items():
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=name)
    return {"scipy": scipy, "stock dask": stock, "overspill A @ x": overspill, "overspill resident": within_a_solver}


def products(space: Any, A: Any, M: Any, *, progress: Any, x: Any, count: int) -> Any:
    """A core that multiplies `count` times: the last product, and the seconds of one."""
    space.dots((x, x))  # all are there
    start = time.perf_counter()
    for _ in range(count):
        y = A(x)
    space.dots((y, y))
    return (y,), (time.perf_counter() - start) / count


def ignore(iteration: int, residual: float, **restart: Any) -> None:
    """Progress that nobody looks at."""


def race(contenders: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every contender, in turn; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(-1, repeats):
        for name, contender in contenders.items():
            elapsed = contender()
            if repeat >= 0:
                seconds[name].append(elapsed)
    return seconds


def report(name: str, whole: csr_array, seconds: dict[str, list[float]]) -> None:
    """Print what was measured."""
    nbytes = whole.data.nbytes + whole.indices.nbytes + whole.indptr.nbytes + sum(whole.shape) * 8
    print(f"\n{name}: {whole.shape[0]} rows, {whole.nnz} entries")
    print(f"  {'contender':<20} {'min':>7} {'median':>7} {'max':>7}   GB/s  SciPy's time over it, pair by pair")
    for contender, times in seconds.items():
        ratio = statistics.median(scipy / own for scipy, own in zip(seconds["scipy"], times, strict=True))
        print(f"  {contender:<20} {record.spread(times)} {nbytes / statistics.median(times) / 1e9:6.2f}  {ratio:.2f}")


if __name__ == "__main__":
    main()
