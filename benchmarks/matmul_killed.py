"""A run of which one worker is ended by SIGKILL in the middle, beside the same run that nobody disturbs."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import dask.array as da
from distributed import Client, Future, Worker, futures_of
from spill_works import COLD_RUNS, held, settle

POLL_S = 0.005

Make: TypeAlias = Callable[[], tuple[da.Array, da.Array]]
Multiply: TypeAlias = Callable[[da.Array, da.Array], da.Array]
Disturb: TypeAlias = Callable[[list[Future]], None]


class TooFewWorkersError(ValueError):
    """Nobody would be left to go on."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long a run took: operands made, then multiplied."""

    made_s: float
    product_s: float

    @property
    def both_s(self) -> float:
        """The whole run."""
        return self.made_s + self.product_s


@dataclass(frozen=True, slots=True)
class Kill:
    """Who was killed, and when.

    Attributes
    ----------
    worker
        The worker's name: of a GPU, its number among those in use.
    pid
        Its process.
    tiles_there, tiles
        Output tiles that were there by then, and that there are.
    after_s
        Seconds since the product was begun.
    """

    worker: str
    pid: int
    tiles_there: int
    tiles: int
    after_s: float


def compared(client: Client, make: Make, multiply: Multiply) -> tuple[da.Array, dict[str, Any]]:
    """The product of a run whose worker was killed, and its seconds beside an undisturbed one's, both warm.

    Raises
    ------
    TooFewWorkersError
        If there are not two workers.
    """
    if (workers := len(client.ncores())) < 2:
        raise TooFewWorkersError(f"one worker is killed and another one has to go on, but there is {workers}: use two")
    first, *_, undisturbed = (run(client, make, multiply)[1] for _ in range(COLD_RUNS + 1))
    kills: list[Kill] = []
    c, disturbed = run(client, make, multiply, lambda tiles: kills.append(kill_half_way(client, tiles)))
    (kill,) = kills
    return c, {
        "first_run_s": first.both_s,
        "undisturbed_s": undisturbed.both_s,
        "killed_s": disturbed.both_s,
        "ratio": disturbed.both_s / undisturbed.both_s,
        "parts": {"undisturbed": asdict(undisturbed), "killed": asdict(disturbed)},
        "kill": asdict(kill),
    }


def run(client: Client, make: Make, multiply: Multiply, disturb: Disturb | None = None) -> tuple[da.Array, Seconds]:
    """The product, once it is there, and its seconds, what runs before left having been freed.

    `disturb` is called with the product's tiles to come, once they are asked for.
    """
    settle(client, 0)
    start = time.perf_counter()
    a, b = make()
    made = time.perf_counter()
    c = client.persist(multiply(a, b))
    if disturb:
        disturb(futures_of(c))
    held(client, c)
    return c, Seconds(made - start, time.perf_counter() - made)


def kill_half_way(client: Client, tiles: list[Future]) -> Kill:
    """Kill the worker that has made the first of `tiles`, as soon as half of them are there."""
    start = time.perf_counter()
    workers = client.run(_process)
    while 2 * len(there := [tile for tile in tiles if tile.status == "finished"]) < len(tiles):
        for tile in tiles:
            if tile.status == "error":
                tile.result()
        time.sleep(POLL_S)
    (victim, *_) = client.who_has(there[:1])[there[0].key]
    name, pid = workers[victim]
    after_s = time.perf_counter() - start
    os.kill(pid, signal.SIGKILL)
    return Kill(name, pid, len(there), len(tiles), after_s)


def _process(dask_worker: Worker) -> tuple[str, int]:
    return str(dask_worker.name), os.getpid()
