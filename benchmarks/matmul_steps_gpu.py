"""What each step of the pipeline of products is worth: the same product in turn with it and without it.

    python benchmarks/matmul_steps_gpu.py [--gpus 4] [--n 65536] [--device-limit 8GiB] [--threads 2] [--repeats 5]

Operands and result in host memory, float64, one cluster for all, whose workers are told before each product what to
leave out. Matrices are small: the beginning and the end of a product weigh more there, as they do on several GPUs. Each
time a pipeline multiplies until that is warm, and then the product counts: the first ones may find buffers of another
size, and have to make their own, and memory to lock. Tasks that upload side by side have buffers of their own for
panels, twice as many as the plan counts. The last product of each pipeline is checked as `matmul_gpu.py` checks it.

Writes ``results/matmul_steps_gpu.json``, of several GPUs ``matmul_steps_gpu_GPUS.json``.
"""

import argparse
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import gemm_rate
import matmul_works
import memory_use
import record
from distributed import Client
from matmul_matrices import flop
from spill_works import COLD_RUNS, held, settle, task_count

import overspill as osp
from overspill.planning import candidates, grid, placement
from overspill.planning import matmul as planning
from overspill.units import parse_nbytes

SETTLED = placement.beginnings
"""What says which tiles begin with narrow panels."""

NEVER = 2**62
"""Of rows or columns: more than any tile has."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What the pipeline is made to do."""

    turns: bool = True
    all_begin: bool = False
    bands: bool = True
    narrowest_first_panel: int = candidates.NARROWEST_FIRST_PANEL
    widest_panels: tuple[int, ...] = planning.WIDEST_PANELS["cuda"]


PIPELINES = {
    "overspill": Pipeline(),
    "tasks upload and multiply side by side": Pipeline(turns=False),
    "every tile begins with narrow panels": Pipeline(all_begin=True),
    "the last panel in one piece": Pipeline(bands=False),
    "the first panel as wide as others": Pipeline(narrowest_first_panel=NEVER),
    "none of the three": Pipeline(turns=False, bands=False, narrowest_first_panel=NEVER),
    "panels of 2048": Pipeline(widest_panels=(2048,)),
    "panels of 4096": Pipeline(widest_panels=(4096,)),
    "panels of 8192": Pipeline(widest_panels=(8192,)),
    "panels of 16384": Pipeline(widest_panels=(16384,)),
}


def main() -> None:
    """Compare what the arguments ask for."""
    arguments = parser().parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in PIPELINES}
    memory_use.touch(parse_nbytes(arguments.touch))
    with ExitStack() as stack:
        limit_nbytes = parse_nbytes(arguments.device_limit) if arguments.device_limit else None
        client = matmul_works.started(stack, arguments.gpus, limit_nbytes, threads_per_worker=arguments.threads)
        a, b = matmul_works.host_operands(client, arguments.n, arguments.chunk, "float64")
        at_rest, errors = task_count(client), {}
        for repetition in range(arguments.repeats):
            for name in rotated(list(PIPELINES), repetition):
                pipeline = PIPELINES[name]
                candidates.NARROWEST_FIRST_PANEL = pipeline.narrowest_first_panel
                planning.WIDEST_PANELS["cuda"] = pipeline.widest_panels
                placement.beginnings = every_one if pipeline.all_begin else SETTLED
                planning._planned.cache_clear()
                client.run(choose, pipeline)
                for _ in range(COLD_RUNS):
                    multiply(client, a, b, arguments.tile, at_rest)
                c, elapsed_s = multiply(client, a, b, arguments.tile, at_rest)
                seconds[name].append(elapsed_s)
                print(f"{name:<36}{elapsed_s:8.3f} s", flush=True)
                if repetition == arguments.repeats - 1:
                    errors[name] = matmul_works.check(client, c)["error"]
                del c
        peak = sum(gemm_rate.of_workers(client, "float64"))
    settings = {name: value for name, value in vars(arguments).items() if name != "results"}
    figures = {"settings": settings, "flop": flop(arguments.n, "float64"), "peak_tflop_per_s": peak, "errors": errors}
    name = "matmul_steps_gpu" + (f"_{arguments.gpus}" if arguments.gpus > 1 else "")
    print(f"written: {record.write(name, figures | {'seconds': seconds}, arguments.results)}")


def multiply(client: Client, a: da.Array, b: da.Array, tile: int | None, at_rest: int) -> tuple[da.Array, float]:
    """The product and its seconds, once the scheduler knows no more than `at_rest` tasks: the one before is let go."""
    settle(client, at_rest)
    start = time.perf_counter()
    c = held(client, osp.matmul(a, b, chunks=tile))
    return c, time.perf_counter() - start


def rotated(names: list[str], by: int) -> list[str]:
    """The names beginning with another one each time: what runs before may leave the GPU warmer, or cooler."""
    first = by % len(names)
    return names[first:] + names[:first]


def every_one(positions: Iterable[tuple[int, int]], workers: int) -> dict[tuple[int, int], tuple[int, int]]:
    """Each begins for itself, whoever makes it."""
    return {position: position for position in positions}


def choose(pipeline: Pipeline) -> None:
    """Make this worker's pipeline so."""
    from overspill.stream import cuda
    from overspill.stream.strip import Strip

    cuda.bands = grid.bands if pipeline.bands else lambda rows, columns: (rows,)
    if not hasattr(Strip, "there"):
        Strip.there = Strip.in_memory
    # Panels that are made as they go up are those of many tasks at a time, in buffers of each one's own.
    Strip.in_memory = Strip.there if pipeline.turns else False


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--gpus", type=int, default=1, help="how many, the first ones")
    found.add_argument("--n", type=int, default=32768, help="rows of each matrix")
    found.add_argument("--chunk", type=int, default=8192, help="rows, and columns, of a chunk")
    found.add_argument("--tile", type=int, help="rows, and columns, of an output tile; as planned unless given")
    found.add_argument("--device-limit", help="bytes of each GPU; our default")
    found.add_argument("--touch", default="0", help="bytes of host memory to write to first, on a machine just started")
    found.add_argument("--threads", type=int, default=2, help="tasks of a GPU at a time")
    found.add_argument("--repeats", type=int, default=5)
    found.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    return found


if __name__ == "__main__":
    main()
