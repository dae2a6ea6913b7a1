"""Arrays several times as large as the GPUs may hold: this library beside stock dask-cuda, in one run.

    python benchmarks/spill_gpu.py --memory 200GiB [--gpus 0,1,2,3] [--device-limit 8GiB] [--only pass,transpose]
    python benchmarks/spill_gpu.py --device cpu --device-limit 16MiB --side 512

Every contender does every piece of work in a process of its own, so that GPUs and page-locked memory are given back in
between; one that fails or takes too long is recorded as such. Results are checked against the host's before times
count. Prints a table and writes ``results/spill_cuda.json``, or ``spill_cpu.json``, where host memory is the upper tier
and the disk the lower one.
"""

import argparse
import contextlib
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import apart
import ballast
import contenders
import record
import spill_works
from contenders import Limits
from spill_works import Case

from overspill.units import format_nbytes, parse_nbytes

OVERHEAD = "overhead"

RATIO_PAIRS = 25
"""Repetitions of what takes a fraction of a second, for a ratio to the percent."""

ROOM = 4
"""How many times the limit it gets for work that is to fit with all its temporaries."""

DEFAULT_SHARE = 0.8
"""Of a GPU, what results may take by default; work with large temporaries gets a GPU of the size that makes it so."""

CONTEXT_NBYTES = 2**30
"""Of each GPU, besides: room for the worker's CUDA context."""


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--gpus", help="as in CUDA_VISIBLE_DEVICES; all unless given")
    parser.add_argument("--device-limit", default="8GiB", help="bytes of results on a GPU, or of a CPU worker")
    parser.add_argument("--memory", default="200GiB", help="bytes of host memory for all workers together")
    parser.add_argument("--side", type=int, default=8192, help="rows, and columns, of a chunk")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stock-scale", type=float, default=0.25, help="share of limit and data that stock gets")
    parser.add_argument("--stock-repeats", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=150, help="seconds that one contender may take for one work")
    parser.add_argument("--total", type=float, default=460, help="seconds after which nothing more is begun")
    parser.add_argument("--only", help=f"some of {','.join([*spill_works.WORKS, OVERHEAD])}")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = arguments.gpus
    apart.run(arguments, compete, compare)


def compare(arguments: argparse.Namespace) -> None:
    """Let every contender do every work, one after the other, and record it."""
    works = arguments.only.split(",") if arguments.only else [*spill_works.WORKS, OVERHEAD]
    name = f"spill_{arguments.device}" + (f"_{'_'.join(works)}" if arguments.only else "")
    settings = apart.settings(arguments)
    outcomes: dict[str, dict[str, Any]] = {}
    begin = time.perf_counter()
    print(f"{'work':<13}{'contender':<17}{'bytes':>9}  first s  median s     GB/s", flush=True)
    for work in works:
        outcomes[work] = {}
        for contender in contenders.available(arguments.device) if work != OVERHEAD else ["overspill"]:
            program = [*sys.argv, "--only", work, "--contender", contender]
            left_s = arguments.total - (time.perf_counter() - begin)
            found = apart.printed_by(program, min(arguments.timeout, left_s))
            outcomes[work][contender] = found
            print(line(work, contender, found), flush=True)
            # What was measured must stay even if the rest is cut off.
            path = record.write(name, {"settings": settings, "outcomes": outcomes}, arguments.results)
        if ratio := speedup(outcomes[work]):
            print(f"{'':<13}{ratio:.1f} × stock", flush=True)
    print(f"written: {path}")


def compete(arguments: argparse.Namespace) -> None:
    """Do one work as one contender, in this process, and print the figures before anything is taken down."""
    work, contender = arguments.only, arguments.contender
    is_stock = contender in contenders.STOCK
    scale = arguments.stock_scale if is_stock and work != "temporaries" else 1
    nbytes = int((ROOM if work == OVERHEAD else scale) * parse_nbytes(arguments.device_limit))
    limits = Limits(arguments.device, nbytes, parse_nbytes(arguments.memory))
    repeats = RATIO_PAIRS if work == OVERHEAD else arguments.stock_repeats if is_stock else arguments.repeats

    def measure(stack: contextlib.ExitStack, found: dict[str, Any]) -> None:
        found |= {"workers": limits.workers, "limit_nbytes": nbytes}
        if work == "temporaries" and arguments.device == "cuda":
            found["device_nbytes"] = int(nbytes / DEFAULT_SHARE) + CONTEXT_NBYTES
            stack.enter_context(ballast.leaving(found["device_nbytes"]))
        client = stack.enter_context(contenders.CONTENDERS[contender](limits))
        case = Case(limits, arguments.side, repeats)
        if work == OVERHEAD:
            plain = stack.enter_context(contenders.without_store(limits))
            found |= spill_works.overhead(client, plain, case)
        else:
            found |= spill_works.WORKS[work](client, case)
        if contender == "overspill":
            found["store"] = spill_works.store_figures(client)
            # Checked before the figures count: work that fits tells nothing of spilling, work that spills nothing
            # of its overhead.
            spilled = any(sum(worker["evictions"].values()) for worker in found["store"])
            assert spilled == (work != OVERHEAD), f"spilled: {spilled}"

    apart.tell(measure)


def line(work: str, contender: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    start = f"{work:<13}{contender:<17}"
    if "failed" in found:
        return f"{start}{found['failed'].splitlines()[0]}"
    if work == OVERHEAD:
        ratios = ", ".join(f"{name} {found[name]['ratio']:.3f}" for name in ("passed", "multiplied"))
        return f"{start}{format_nbytes(found['nbytes']):>9}  {ratios} of the time without a store"
    seconds = f"{found['first_s']:7.2f}  {statistics.median(found['warm_s'] or [found['first_s']]):8.2f}"
    return f"{start}{format_nbytes(found['nbytes']):>9}  {seconds}  {found['gb_per_s']:7.2f}"


def speedup(found: dict[str, dict[str, Any]]) -> float | None:
    """How many times as fast as the best stock cluster this library was, where both did the work."""
    stock = [found[name]["gb_per_s"] for name in contenders.STOCK if "gb_per_s" in found.get(name, {})]
    ours = found["overspill"].get("gb_per_s")
    return ours / max(stock) if ours and stock else None


if __name__ == "__main__":
    main()
