"""What the spill benchmark computes, on any cluster; each work returns its figures once its results are checked."""

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import dask.array as da
import known
import numpy as np
from contenders import Limits
from distributed import Client, futures_of, wait
from known import Span
from numpy.typing import NDArray

Collection = TypeVar("Collection")

PRODUCT_PAIRS = 9
"""Repetitions of what takes a GPU a second."""


@dataclass(frozen=True, slots=True)
class Case:
    """Limits, the side of a square float32 chunk, and how often work is repeated after the first time."""

    limits: Limits
    side: int
    repeats: int

    @property
    def xp(self) -> str:
        """The name of the module that makes the chunks."""
        return "cupy" if self.limits.device == "cuda" else "numpy"

    def grid(self, factor: float) -> tuple[int, int]:
        """Rows and columns of chunks that come to `factor` times what all upper tiers may hold."""
        return known.grid(max(1, round(factor * self.limits.nbytes * self.limits.workers / (4 * self.side**2))))

    def square(self, factor: float) -> tuple[int, int]:
        """The same, as many rows as columns."""
        side = max(2, round(math.sqrt(factor * self.limits.nbytes * self.limits.workers / (4 * self.side**2))))
        return side, side


def array(client: Client, case: Case, grid: tuple[int, int]) -> da.Array:
    """An array of `grid` chunks, held by the workers."""
    return held(client, known.array(case.xp, case.side, grid))


def held(client: Client, lazy: Collection) -> Collection:
    """`lazy`, computed and held by the workers; raises what went wrong there."""
    x = client.persist(lazy)
    futures = futures_of(x)
    wait(futures)
    for future in futures:
        if future.status != "finished":
            future.result()
    return x


COLD_RUNS = 2
"""Products before those of the same size are warm: the first makes memory, the second page-locks it."""


def timed(client: Client, work: Callable[[], Any], repeats: int, enough_s: float = math.inf) -> tuple[Any, list[float]]:
    """The last result of `work` and the seconds of each time, what others left freed before.

    After the first time it is repeated `repeats` times, or fewer if that has taken `enough_s`, but once at least.
    """
    tasks = task_count(client)
    seconds: list[float] = []
    for _ in range(1 + repeats):
        if sum(seconds[1:]) > enough_s:
            break
        result = None
        settle(client, tasks)
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, seconds


def timed_mean(client: Client, x: da.Array, repeats: int) -> tuple[float, list[float]]:
    """The mean of `x`, and the seconds of each time it was computed."""
    return timed(client, lambda: float(client.compute(x.mean()).result()), repeats)


def task_count(client: Client) -> int:
    """How many tasks the scheduler knows: what is wanted, and what is not yet let go."""
    return int(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))


def settle(client: Client, tasks: int) -> None:
    """Wait until the scheduler knows no more than so many tasks: results that nobody wants any more are let go."""
    while task_count(client) > tasks:
        gc.collect()  # futures in a cycle of references would wait for it
        time.sleep(0.01)


def wave(x: Any) -> Any:
    """The chain of the full pass."""
    return np.sin(x) ** 2 + np.cos(x) * x


def squared(x: Any) -> Any:
    """The product of a chunk with itself."""
    return x @ x


def widened(x: Any, copies: int) -> Any:
    """The sine of `x`, by way of two temporaries of `copies` times its size."""
    wide = np.tile(x, (copies, 1, 1))
    return np.sin(wide).max(axis=0)


def pass_over(client: Client, case: Case) -> dict[str, Any]:
    """A full pass over four times what the upper tiers may hold."""
    start = time.perf_counter()
    x = array(client, case, case.grid(4))
    persist_s = time.perf_counter() - start
    mean, seconds = timed_mean(client, wave(x), case.repeats)
    error = known.check_mean(mean, wave, x.shape)
    checked = known.check_blocks(client, x, known.on_host)
    return speeds(x.nbytes, seconds) | {"persist_s": persist_s, "error": error, "chunks_checked": checked}


def transposed_sum(client: Client, case: Case) -> dict[str, Any]:
    """``x + x.T``, the result held too, where half of ``x`` is spilled before."""

    def expected(rows: Span, columns: Span) -> NDArray[Any]:
        return known.on_host(rows, columns) + known.on_host(columns, rows).T

    x = array(client, case, case.square(2))
    y, seconds = timed(client, lambda: held(client, x + x.T), case.repeats)
    return speeds(x.nbytes, seconds) | {"chunks_checked": known.check_blocks(client, y, expected)}


def temporaries(client: Client, case: Case) -> dict[str, Any]:
    """Tasks whose temporaries, beside the results that fill the upper tier, exceed the device."""
    copies = max(2, 3 * case.limits.nbytes // (8 * 4 * case.side**2))
    x = array(client, case, case.grid(2))
    y = x.map_blocks(widened, copies, dtype=x.dtype, meta=x._meta)
    mean, seconds = timed_mean(client, y, 0)
    error = known.check_mean(mean, np.sin, x.shape)
    checked = known.check_blocks(client, y, lambda rows, columns: np.sin(known.on_host(rows, columns)), atol=1e-6)
    temporaries_nbytes = 2 * copies * 4 * case.side**2
    return speeds(x.nbytes, seconds) | {
        "error": error,
        "chunks_checked": checked,
        "temporaries_of_a_task_nbytes": temporaries_nbytes,
    }


def overhead(ours: Client, plain: Client, case: Case) -> dict[str, Any]:
    """Work on a quarter of what the upper tiers may hold, with and without a store, in turn.

    The pass is so thin that Dask's own work takes most of its time; a product of each chunk keeps its device busy.
    """
    clients = {"overspill": ours, "dictionary": plain}
    arrays = {name: array(client, case, case.grid(1 / 4)) for name, client in clients.items()}

    def passed(client: Client, x: da.Array) -> list[float]:
        mean, seconds = timed_mean(client, wave(x), 0)
        known.check_mean(mean, wave, x.shape)
        return seconds

    def multiplied(client: Client, x: da.Array) -> list[float]:
        return timed_mean(client, x.map_blocks(squared, dtype=x.dtype, meta=x._meta), 0)[1]

    found: dict[str, Any] = {"nbytes": arrays["overspill"].nbytes}
    for work, repeats in ((passed, case.repeats), (multiplied, PRODUCT_PAIRS)):
        seconds: dict[str, list[float]] = {name: [] for name in clients}
        for turn in range(1 + repeats):
            for name, client in clients.items():
                elapsed = work(client, arrays[name])
                if turn:
                    seconds[name].extend(elapsed)
        with_store, without = (statistics.median(times) for times in seconds.values())
        found[work.__name__] = {"seconds": seconds, "ratio": with_store / without}
    return found


def store_figures(client: Client) -> list[dict[str, Any]]:
    """What each worker's store has counted."""
    return list(client.run(lambda dask_worker: dask_worker.data.figures()).values())


def speeds(nbytes: int, seconds: list[float]) -> dict[str, Any]:
    """What is told of work on `nbytes` bytes that took `seconds`, the first time and then."""
    first, *warm = seconds
    median = statistics.median(warm or [first])
    return {"nbytes": nbytes, "first_s": first, "warm_s": warm, "gb_per_s": nbytes / median / 1e9}


WORKS: dict[str, Callable[[Client, Case], dict[str, Any]]] = {
    "pass": pass_over,
    "transpose": transposed_sum,
    "temporaries": temporaries,
}
