"""Products of square matrices on all GPUs of this server, beside what people would use instead.

    python benchmarks/matmul_gpu.py [--gpus 4] [--n 65536] [--only host,device] [--repeats 5]

``host``: operands and result in host memory, float64. ``large``: larger ones, with 8 GiB of each of four GPUs.
``device``: all in GPU memory. ``one``: operands and result in host memory, on one GPU, with 8 GiB of it. ``types``:
float32, float16 and complex64 in host memory. ``scaling``: on one, two, four GPUs. ``killed``: operands made in host
memory, then multiplied, on all GPUs; the process of one of them is ended by SIGKILL when half of the output tiles are
there, and the seconds of the whole run are recorded beside those of one that nobody disturbs, both warm.
Stock Dask does it in GPU memory. ``peak``: `cupy.matmul` of 16384² for five seconds on all GPUs at once, which is
measured right after each product of this library's as well, in the same workers.

Each contender runs in a process of its own. Its product is compared with NumPy where 96 rows and columns cross, and its
sum with what it must be, before times count. The first product begins with operands that no GPU has seen, except that
cuBLASXt's are page-locked before. Of this library's products the plan's seconds and bytes on a GPU are recorded beside
those measured, the bytes by the driver, less what a process takes without any array.

Writes ``results/matmul_gpu_GPUS.json``; with ``--only`` or ``--n`` the name goes on with those.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import agreement
import apart
import contenders
import matmul_works
import memory_use
import record
from matmul_peers import Size
from matmul_works import MANY_GPUS

from overspill import backend
from overspill.units import format_nbytes, parse_nbytes

WITHIN = {"types": 1e-3}
"""Relative difference up to which sums are the same; of float64 `FLOAT64`."""

FLOAT64 = 1e-11

FEW_GPUS_N, MANY_GPUS_N, LARGE_N = 49152, 65536, 98304
"""Rows unless asked for otherwise: on fewer than `MANY_GPUS`, on as many or more, and of the work ``large``."""


def main() -> None:
    """Run what the arguments ask for."""
    arguments = parser().parse_args()
    if arguments.gpus:  # before anything looks for GPUs
        os.environ["CUDA_VISIBLE_DEVICES"] = contenders.visible(arguments.gpus)
    apart.run(arguments, compete, compare)


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--gpus", type=int, help="how many, the first ones; all unless given")
    found.add_argument("--n", type=int, help=f"rows of each matrix; {FEW_GPUS_N}, on {MANY_GPUS} GPUs {MANY_GPUS_N}")
    found.add_argument("--chunk", type=int, default=8192, help="rows, and columns, of a chunk in host memory")
    found.add_argument("--device-chunk", type=int, default=8192, help="rows, and columns, of a chunk in GPU memory")
    found.add_argument("--device-limit", help="bytes of a GPU for products of what is on the host; our default")
    found.add_argument("--stock-scale", type=float, default=0.5, help="share of n that stock Dask gets if it spills")
    found.add_argument("--repeats", type=int, default=5)
    found.add_argument("--timeout", type=float, default=150, help="seconds that one contender may take for one work")
    found.add_argument("--only", help=f"some of {','.join(matmul_works.WORKS)}")
    found.add_argument("--who", help="some of the contenders, by the beginnings of their names: overspill,cuBLASXt")
    found.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    found.add_argument("--touch", default="0", help="bytes of host memory to write to first, on a machine just started")
    found.add_argument("--contender", help=argparse.SUPPRESS)
    return found


def compare(arguments: argparse.Namespace) -> None:
    """Let every contender do every work, one after the other, and record it."""
    gpus = len(backend.gpus())
    if gpus == 0 or (arguments.gpus or 0) > gpus:
        sys.exit(f"{arguments.gpus or 'some'} GPUs are needed, this process sees {gpus}")
    settings = apart.settings(arguments)
    settings["gpus"] = gpus
    if arguments.n is None:  # rows tell
        del settings["n"]
    contests = [
        (work, contender)
        for work in works(arguments)
        for contender in asked_for(arguments, matmul_works.competing(work, gpus))
    ]
    if not contests:
        sys.exit(f"nobody who is asked for does {' or '.join(works(arguments))} on {gpus} GPUs")
    memory_use.touch(parse_nbytes(arguments.touch))
    outcomes: dict[str, dict[str, Any]] = {}
    print(f"{'work':<9}{'contender':<26}{'n':>6}  first s  median s  TFLOP/s  of peak   predicted", flush=True)
    for work, contender in contests:
        found = outcomes.setdefault(work, {})
        program = [*sys.argv, "--only", work, "--contender", contender]
        found[contender] = apart.printed_by(program, arguments.timeout)
        agreement.agree(found, WITHIN.get(work, FLOAT64))
        print(line(work, contender, found), flush=True)
        # What was measured must stay even if the rest is cut off.
        path = record.write(name(arguments, gpus), {"settings": settings, "outcomes": outcomes}, arguments.results)
    print(f"written: {path}")


def compete(arguments: argparse.Namespace) -> None:
    """Do one work as one contender, in this process, and print the figures before anything is taken down."""
    work = matmul_works.competing(arguments.only, len(backend.gpus()))[arguments.contender]
    apart.tell(lambda stack, found: found.update(work(stack, size_of(arguments, len(backend.gpus())))))


def works(arguments: argparse.Namespace) -> list[str]:
    """What is asked for."""
    return arguments.only.split(",") if arguments.only else list(matmul_works.WORKS)


def asked_for(arguments: argparse.Namespace, contenders: Iterable[str]) -> list[str]:
    """Those of the contenders that are asked for."""
    wanted = tuple((arguments.who or "").split(","))
    return [contender for contender in contenders if contender.startswith(wanted)]


def name(arguments: argparse.Namespace, gpus: int) -> str:
    """Of the file: parts of a run, which may be all that a lent machine has time for, do not replace each other."""
    parts = [str(gpus)] + (works(arguments) if arguments.only else []) + ([str(arguments.n)] if arguments.n else [])
    return "_".join(["matmul_gpu", *parts])


def size_of(arguments: argparse.Namespace, gpus: int) -> Size:
    """How large the products of one work are on so many GPUs."""
    usual_n = FEW_GPUS_N if gpus < MANY_GPUS or arguments.only == "one" else MANY_GPUS_N
    limit = arguments.device_limit
    return Size(
        n=arguments.n or (LARGE_N if arguments.only == "large" else usual_n),
        chunk=arguments.chunk,
        device_chunk=arguments.device_chunk,
        device_nbytes=parse_nbytes(limit) if limit else None,
        stock_scale=arguments.stock_scale,
        repeats=arguments.repeats,
    )


def line(work: str, contender: str, outcomes: dict[str, Any]) -> str:
    """A row of the table."""
    found, start = outcomes[contender], f"{work:<9}{contender:<26}"
    if "failed" in found:
        return f"{start}{found['failed'].splitlines()[0]}"
    if "killed_s" in found:
        return f"{start}{found['n']:>6} {told_of_kill(found)}"
    seconds = f"{'':>18}"
    if "first_s" in found:
        seconds = f"{found['first_s']:8.2f}  {statistics.median(found['warm_s'] or [found['first_s']]):8.3f}"
    peaks = [one["peak_tflop_per_s"] for one in (found, *outcomes.values()) if "peak_tflop_per_s" in one]
    share = f"  {found['tflop_per_s'] / peaks[0]:7.3f}" if peaks else ""
    planned = ""
    if "predicted_s" in found:
        used = format_nbytes(found["peak_device_nbytes"]), format_nbytes(found["planned_device_nbytes"])
        planned = f"  {found['predicted_s']:8.3f} s, {used[0]} of {used[1]} planned on a GPU"
    return f"{start}{found['n']:>6} {seconds}  {found['tflop_per_s']:7.1f}{share}{planned}"


def told_of_kill(found: dict[str, Any]) -> str:
    """What a killed worker cost."""
    kill = found["kill"]
    seconds = f"{found['killed_s']:8.2f} s, undisturbed {found['undisturbed_s']:.2f} s: {found['ratio']:.2f} times that"
    return f"{seconds}; worker {kill['worker']} killed at {kill['tiles_there']} of {kill['tiles']} tiles"


if __name__ == "__main__":
    main()
