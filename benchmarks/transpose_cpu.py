"""A matrix added to its transpose, and one cut into columns instead of rows, on two single-threaded worker processes.

    python benchmarks/transpose_cpu.py [--n 16000] [--sides 2000 4000] [--repeats 5]

Times, in turn in one run, this library on tiles and stock Dask on ordinary arrays in a `LocalCluster` of as many
processes, each with chunks of several sizes, after checking their results; stock Dask also with both of its ways to
rechunk. Operands and results are held by the workers. Rates are of the operand's bytes; ratios, round by round, are to
the best contender of stock Dask. Writes ``results/transpose_cpu.json``.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
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
    """Whose cluster does it, how the operand is cut and held, and what is done with it."""

    client: Client
    chunks: tuple[int, int]
    hold: Callable[[da.Array], da.Array]
    work: Callable[[da.Array], da.Array]


def main() -> None:
    """Time both works."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=16000, help="rows and columns of the matrix of float64")
    parser.add_argument("--sides", type=int, nargs="+", default=[2000, 4000], help="of square chunks")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    arguments = parser.parse_args()
    n, sides = arguments.n, arguments.sides
    outcomes: dict[str, dict[str, list[float]]] = {}
    print(f"{'contender':<40} {'min':>7} {'median':>7} {'max':>7}   GB/s  of stock, round by round")
    with stock() as stocks, osp.cluster(gpu=False, n_workers=WORKERS, dashboard_address=None) as cluster:
        for name, contenders, expected in (
            ("x + x.T", sums(stocks, cluster.client, sides), lambda r, c: elements(r, c) + elements(c, r).T),
            ("rows to columns", cuts(stocks, cluster.client, n, sides), elements),
        ):
            print(name)
            outcomes[name] = seconds = race(contenders, n, expected, arguments.repeats)
            medians = {contender: statistics.median(times) for contender, times in seconds.items()}
            best = min((one for one in medians if one.startswith(STOCK)), key=medians.__getitem__)
            for contender, times in seconds.items():
                ratio = statistics.median(theirs / own for theirs, own in zip(seconds[best], times, strict=True))
                rate = 8 * n**2 / medians[contender] / 1e9
                print(f"  {contender:<38} {record.spread(times)} {rate:6.2f}  {ratio:.2f}", flush=True)
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


def sums(stocks: Client, ours: Client, sides: Sequence[int]) -> dict[str, Contender]:
    """Who adds a matrix to its transpose, and how."""
    add = osp.elementwise(lambda a, b: a + b)
    contenders = {}
    for side in sides:
        chunks = side, side
        contenders[f"{STOCK}, {side}"] = Contender(stocks, chunks, da.asarray, lambda x: x + x.T)
        contenders[f"overspill, {side}"] = Contender(ours, chunks, osp.to_host, lambda x: x + x.T)
        contenders[f"overspill elementwise, {side}"] = Contender(ours, chunks, osp.to_host, lambda x: add(x, x.T))
        contenders[f"overspill elementwise into tiles, {side}"] = Contender(
            ours, chunks, osp.to_host, lambda x: osp.to_host(add(x, x.T))
        )
    return contenders


def cuts(stocks: Client, ours: Client, n: int, sides: Sequence[int]) -> dict[str, Contender]:
    """Who cuts a matrix into columns, and how, in chunks of as many elements as square ones of the sides have."""
    contenders = {}
    for side in sides:
        rows = max(1, side * side // n)
        for method in ("tasks", "p2p"):
            contenders[f"{STOCK}, {method}, {rows} rows"] = Contender(
                stocks, (rows, n), da.asarray, lambda x, rows=rows, method=method: x.rechunk((n, rows), method=method)
            )
        contenders[f"overspill, {rows} rows"] = Contender(
            ours, (rows, n), osp.to_host, lambda x, rows=rows: osp.rechunk(x, (n, rows))
        )
    return contenders


def race(
    contenders: dict[str, Contender], n: int, expected: Callable[[Span, Span], NDArray[Any]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of every contender, in turn; the first round warms up, and checks."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(-1, repeats):
        for name, contender in contenders.items():
            client = contender.client
            x = held(client, contender.hold(matrix(n, contender.chunks)))
            start = time.perf_counter()
            y = held(client, contender.work(x))
            elapsed = time.perf_counter() - start
            if repeat < 0:
                check(client, y, expected)
            else:
                seconds[name].append(elapsed)
            del x, y
            while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
                time.sleep(0.01)
    return seconds


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
