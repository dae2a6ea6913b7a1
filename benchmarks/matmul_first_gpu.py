"""What a first product waits for: the same one in fresh processes, its memory prepared in different ways.

    python benchmarks/matmul_first_gpu.py [--gpus 4] [--n 65536] [--repeats 3]

Operands and result in host memory, float64. A cluster a product, whose workers have made the operands and nothing else,
unless they are told to: the result's memory made and page-locked as well, or, as it once was, each tile locked before
it comes down. ``warm`` is the third product in the same processes: the second one locks what is used again. The last
product of each is checked as `matmul_gpu.py` checks it.

Writes ``results/matmul_first_gpu_GPUS.json``.
"""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import matmul_works
import memory_use
import record
from distributed import Client
from matmul_matrices import flop
from matmul_steps_gpu import multiply, rotated
from spill_works import COLD_RUNS, task_count

import overspill as osp
from overspill import memory
from overspill.planning.matmul_plan import MatmulPlan
from overspill.units import parse_nbytes

WARM = "warm"


def main() -> None:
    """Compare what the arguments ask for."""
    arguments = parser().parse_args()
    memory_use.touch(parse_nbytes(arguments.touch))
    seconds: dict[str, list[float]] = {name: [] for name in (*PREPARED, WARM)}
    errors: dict[str, float] = {}
    for repetition in range(arguments.repeats):
        for name in rotated(list(PREPARED), repetition):
            with ExitStack() as stack:
                limit_nbytes = parse_nbytes(arguments.device_limit) if arguments.device_limit else None
                client = matmul_works.started(stack, arguments.gpus, limit_nbytes)
                a, b = matmul_works.host_operands(client, arguments.n, arguments.chunk, "float64")
                (plan,) = osp.plan(osp.matmul(a, b)).products
                PREPARED[name](client, plan)
                at_rest = task_count(client)
                each_s = []
                for _ in range(COLD_RUNS + 1):
                    c = None  # or the next one would wait for it to be let go
                    c, elapsed_s = multiply(client, a, b, None, at_rest)
                    each_s.append(elapsed_s)
                seconds[name].append(each_s[0])
                seconds[WARM].append(each_s[-1])
                print(f"{name:<36}{each_s[0]:8.3f} s, {WARM} {each_s[-1]:8.3f} s", flush=True)
                errors[name] = matmul_works.check(client, c)["error"]
                del c
    settings = {name: value for name, value in vars(arguments).items() if name != "results"}
    figures = {"settings": settings, "flop": flop(arguments.n, "float64"), "errors": errors, "seconds": seconds}
    print(f"written: {record.write(f'matmul_first_gpu_{arguments.gpus}', figures, arguments.results)}")


def as_it_is(client: Client, plan: MatmulPlan) -> None:
    """Leave workers as they are."""


def lock_before(client: Client, plan: MatmulPlan) -> None:
    """Have workers lock each tile as they make room for it."""
    client.run(_lock_before)


def make_room(client: Client, plan: MatmulPlan) -> None:
    """Have workers make and lock as much memory as each one's tiles take."""
    count = -(-plan.tasks // len(client.ncores()))
    client.run(_make_room, (max(plan.rows), max(plan.columns)), plan.dtype, count)


def _lock_before() -> None:
    from overspill.memory.pinning import pin
    from overspill.stream.landing_cuda import Landing

    make = Landing.__init__

    def made(self: Landing, *arguments: object) -> None:
        make(self, *arguments)
        pin(self.tile)

    Landing.__init__ = made


def _make_room(shape: tuple[int, int], dtype: str, count: int) -> None:
    _kept = [memory.empty(shape, dtype) for _ in range(count)]


PREPARED: dict[str, Callable[[Client, MatmulPlan], None]] = {
    "overspill": as_it_is,
    "tiles locked before they come down": lock_before,
    "the result's memory made before": make_room,
}


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--gpus", type=int, default=1, help="how many, the first ones")
    found.add_argument("--n", type=int, default=49152, help="rows of each matrix")
    found.add_argument("--chunk", type=int, default=8192, help="rows, and columns, of a chunk")
    found.add_argument("--device-limit", help="bytes of each GPU; our default")
    found.add_argument("--touch", default="0", help="bytes of host memory to write to first, on a machine just started")
    found.add_argument("--repeats", type=int, default=3, help="fresh clusters for each")
    found.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    return found


if __name__ == "__main__":
    main()
