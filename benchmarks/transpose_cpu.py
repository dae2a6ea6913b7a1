"""A matrix added to its transpose, and one cut into columns instead of rows, on two single-threaded worker processes.

    python benchmarks/transpose_cpu.py [--n 16000] [--sides 1000 2000 4000] [--repeats 5]

Times, in turn in one run, this library on tiles and stock Dask on ordinary arrays in a `LocalCluster` of as many
processes, each with chunks of several sizes, after checking their results; stock Dask also with both of its ways to
rechunk. Operands and results are held by the workers. Rates are of the operand's bytes, medians are compared with the
best of stock Dask's. Writes ``results/transpose_cpu.json``.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import record
from distributed import Client, LocalCluster, wait
from numpy.typing import NDArray

import overspill as osp

WORKERS = 2

STOCK = "stock dask"

Span = tuple[int, int]


def elements(rows: Span, columns: Span) -> NDArray[np.float64]:
    """Numbers from 0 to below 1, scattered over the matrix, the same wherever they are made."""
    i, j = np.arange(*rows)[:, None], np.arange(*columns)[None, :]
    return (i * 2654435761 + j * 2246822519) % 2**32 * 2.0**-32


@dataclass(frozen=True, slots=True)
class Contender:
    """Whose cluster does what with the operand that it holds."""

    client: Client
    operand: da.Array
    work: Callable[[da.Array], da.Array]


def main() -> None:
    """Time both works."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=16000, help="rows and columns of the matrix of float64")
    parser.add_argument("--sides", type=int, nargs="+", default=[1000, 2000, 4000], help="of square chunks")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    arguments = parser.parse_args()
    n, sides = arguments.n, arguments.sides
    outcomes: dict[str, dict[str, list[float]]] = {"x + x.T": {}, "rows to columns": {}}
    with stock() as stocks, osp.cluster(gpu=False, n_workers=WORKERS, dashboard_address=None) as cluster:
        for side in sides:
            squares = sums(stocks, cluster.client, n, side)
            outcomes["x + x.T"] |= race(squares, arguments.repeats, lambda r, c: elements(r, c) + elements(c, r).T)
            del squares
            rows = cuts(stocks, cluster.client, n, max(1, side * side // n))
            outcomes["rows to columns"] |= race(rows, arguments.repeats, elements)
            del rows
    print(f"{'contender':<40} {'min':>7} {'median':>7} {'max':>7}   GB/s  of stock's best")
    for work, seconds in outcomes.items():
        print(work)
        medians = {contender: statistics.median(times) for contender, times in seconds.items()}
        best = min(median for contender, median in medians.items() if contender.startswith(STOCK))
        for contender, median in medians.items():
            rate = 8 * n**2 / median / 1e9
            print(f"  {contender:<38} {record.spread(seconds[contender])} {rate:6.2f}  {best / median:.2f}")
    settings = {"n": n, "sides": sides, "workers": WORKERS}
    path = record.write("transpose_cpu", {"settings": settings, "seconds": outcomes}, arguments.results)
    print(f"\nwritten: {path}")


@contextmanager
def stock() -> Iterator[Client]:
    """Dask's own cluster."""
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, memory_limit=0, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def sums(stocks: Client, ours: Client, n: int, side: int) -> dict[str, Contender]:
    """Who adds a matrix to its transpose, and how."""
    add = osp.elementwise(lambda a, b: a + b)
    x = held(stocks, matrix(n, (side, side)))
    tiles = held(ours, osp.to_host(matrix(n, (side, side))))
    return {
        f"{STOCK}, {side}": Contender(stocks, x, lambda x: x + x.T),
        f"overspill, {side}": Contender(ours, tiles, lambda x: x + x.T),
        f"overspill elementwise, {side}": Contender(ours, tiles, lambda x: add(x, x.T)),
        f"overspill elementwise into tiles, {side}": Contender(ours, tiles, lambda x: osp.to_host(add(x, x.T))),
    }


def cuts(stocks: Client, ours: Client, n: int, rows: int) -> dict[str, Contender]:
    """Who cuts a matrix into chunks of so many columns instead of rows, and how."""
    x = held(stocks, matrix(n, (rows, n)))
    tiles = held(ours, osp.to_host(matrix(n, (rows, n))))
    return {
        f"{STOCK}, tasks, {rows} rows": Contender(stocks, x, lambda x: x.rechunk((n, rows), method="tasks")),
        f"{STOCK}, p2p, {rows} rows": Contender(stocks, x, lambda x: x.rechunk((n, rows), method="p2p")),
        f"overspill, {rows} rows": Contender(ours, tiles, lambda x: osp.rechunk(x, (n, rows))),
    }


def race(
    contenders: dict[str, Contender], repeats: int, expected: Callable[[Span, Span], NDArray[Any]]
) -> dict[str, list[float]]:
    """Seconds of every contender, in turn; the first round warms up, and checks."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(-1, repeats):
        for name, contender in contenders.items():
            client = contender.client
            tasks = client.run_on_scheduler(count_tasks)
            start = time.perf_counter()
            y = held(client, contender.work(contender.operand))
            elapsed = time.perf_counter() - start
            if repeat < 0:
                check(client, y, expected)
            else:
                seconds[name].append(elapsed)
            del y
            while client.run_on_scheduler(count_tasks) > tasks:
                time.sleep(0.01)
    return seconds


def count_tasks(dask_scheduler: Any) -> int:
    """What a scheduler knows of, results that somebody holds among it."""
    return len(dask_scheduler.tasks)


def matrix(n: int, chunks: tuple[int, int]) -> da.Array:
    """The operand."""
    cut = da.core.normalize_chunks(chunks, (n, n))

    def made(block_info: Any) -> NDArray[Any]:
        return elements(*block_info[None]["array-location"])

    return da.map_blocks(made, chunks=cut, dtype=float, meta=np.empty((0, 0)))


def held(client: Client, lazy: da.Array) -> da.Array:
    """`lazy`, computed and held by the workers."""
    x = client.persist(lazy)
    wait(x)
    return x


def check(client: Client, y: da.Array, expected: Callable[[Span, Span], NDArray[Any]]) -> None:
    """Compare chunks of `y`, from corner to corner, with the same made here."""
    last = tuple(count - 1 for count in y.numblocks)
    for i, j in {(0, 0), (last[0], 0), (last[0] // 2, last[1] // 3), last}:
        spans = [(sum(sizes[:k]), sum(sizes[: k + 1])) for sizes, k in zip(y.chunks, (i, j), strict=True)]
        chunk = client.compute(y.blocks[i, j]).result()
        assert np.array_equal(chunk, expected(*spans)), f"chunk {i}, {j} is wrong"


if __name__ == "__main__":
    main()
