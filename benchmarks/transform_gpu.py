"""Elementwise work on all GPUs of this server: from host memory and back, reduced on the way, and within GPU memory.

    python benchmarks/transform_gpu.py --memory 100GiB [--nbytes 32GiB] [--resident 32GiB] [--only round,mean,resident]

``round`` brings a float32 array up, transforms it and brings the result down; ``mean`` keeps only the mean of it;
``resident`` takes the mean of a transformed float64 array that lies in GPU memory. Beside this library run stock
dask-cuda, whose chunks lie on the GPUs and spill, dask-cuda with copies by hand, and JAX. Rates count the bytes of the
array, once; those of the links are measured in the same processes right after. Results are checked before times count.
Writes ``results/transform_gpu.json``.
"""

import argparse
import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Any

import apart
import record
import transform_works
from contenders import Limits
from transform_works import Size

from overspill.units import format_nbytes, parse_nbytes


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nbytes", default="32GiB", help="bytes of the array in host memory")
    parser.add_argument("--resident", default="32GiB", help="bytes of the array in GPU memory")
    parser.add_argument("--resident-side", type=int, default=16384, help="rows, and columns, of a chunk of it")
    parser.add_argument("--memory", required=True, help="bytes of host memory for all workers together")
    parser.add_argument("--device-limit", default="8GiB", help="bytes of results on a GPU, but for what is resident")
    parser.add_argument("--side", type=int, default=8192, help="rows, and columns, of a chunk of what is not")
    parser.add_argument("--threads", type=int, help="tasks that one GPU runs at a time; the cluster's default")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--stock-scale", type=float, default=0.25, help="share of limit and data that stock gets")
    parser.add_argument("--timeout", type=float, default=100, help="seconds that one contender may take for one work")
    parser.add_argument("--only", help=f"some of {','.join(transform_works.WORKS)}")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    apart.run(arguments, compete, compare)


def compare(arguments: argparse.Namespace) -> None:
    """Let every contender do every work, one after the other, and record it."""
    works = arguments.only.split(",") if arguments.only else list(transform_works.WORKS)
    settings = apart.settings(arguments)
    outcomes: dict[str, dict[str, Any]] = {}
    print(f"{'work':<10}{'contender':<17}{'bytes':>9}  first s  median s     GB/s  of the link", flush=True)
    for work in works:
        outcomes[work] = {}
        for contender in transform_works.WORKS[work]:
            program = [*sys.argv, "--only", work, "--contender", contender]
            found = outcomes[work][contender] = apart.printed_by(program, arguments.timeout)
            print(line(work, contender, found), flush=True)
            # What was measured must stay even if the rest is cut off.
            path = record.write("transform_gpu", {"settings": settings, "outcomes": outcomes}, arguments.results)
    print(f"written: {path}")


def compete(arguments: argparse.Namespace) -> None:
    """Do one work as one contender, in this process, and print the figures before anything is taken down."""
    work, contender = arguments.only, arguments.contender
    scale = arguments.stock_scale if contender in transform_works.SLOW else 1
    resident = work == "resident"
    size = Size(
        nbytes=int(scale * parse_nbytes(arguments.resident if resident else arguments.nbytes)),
        side=arguments.resident_side if resident else arguments.side,
        repeats=arguments.repeats,
    )
    limits = Limits("cuda", int(scale * parse_nbytes(arguments.device_limit)), parse_nbytes(arguments.memory))
    if resident:  # with the eighth of the limit that stays free for tasks, and chunks dealt out unevenly
        limits = dataclasses.replace(limits, nbytes=size.nbytes * 3 // 2 // limits.workers)
    threads = {} if arguments.threads is None else {"threads_per_worker": arguments.threads}
    do = transform_works.WORKS[work][contender]
    apart.tell(lambda stack, found: found.update(do(stack, limits, size, threads)))


def line(work: str, contender: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    start = f"{work:<10}{contender:<17}"
    if "failed" in found:
        return f"{start}{found['failed'].splitlines()[0]}"
    seconds = f"{found['first_s']:7.2f}  {statistics.median(found['warm_s']):8.3f}"
    share = f"  {found['gb_per_s'] / found['link_gb_per_s']:11.3f}" if "link_gb_per_s" in found else ""
    return f"{start}{format_nbytes(found['nbytes']):>9}  {seconds}  {found['gb_per_s']:7.2f}{share}"


if __name__ == "__main__":
    main()
