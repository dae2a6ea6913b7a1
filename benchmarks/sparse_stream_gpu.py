"""A sparse matrix of twice the bytes that the GPUs may hold times a vector: all of it goes up for each product.

    python benchmarks/sparse_stream_gpu.py [--gpus 1] [--device-limit 8GiB] [--only overspill,by hand] [--repeats 7]

The matrix, sixteen diagonals in float64 with 32-bit columns, lies in host memory; the vector and the product lie on the
GPUs. Beside this library run stock dask-cuda, whose tasks each bring a SciPy block up, and copies by hand without Dask,
each in a process of its own. Rates count values, columns and row pointers once a product; that of the links is measured
in this library's workers right after. Rows are compared with SciPy's, and sums of all rows with the other contenders',
before times count. Writes ``results/sparse_stream_gpu.json``, on two GPUs ``results/sparse_stream_gpu_2.json``.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import agreement
import apart
import record
import sparse_stream_matrix
import sparse_stream_works
from contenders import Limits, visible

from overspill.units import format_nbytes, parse_nbytes

WORK = "product"

WITHIN = 1e-12
"""Relative difference up to which sums of all rows are the same."""

TIMES_THE_LIMIT = 2

HOST_SHARE = 3
"""Host memory that workers may take, in sizes of the matrix: they hold it once, and a part of it while it is made."""


def main() -> None:
    """Run what the arguments ask for."""
    arguments = parser().parse_args()
    # Before anything looks for GPUs.
    os.environ["CUDA_VISIBLE_DEVICES"] = visible(arguments.gpus)
    apart.run(arguments, compete, compare)


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--gpus", type=int, default=1, help="how many, the first ones")
    found.add_argument("--device-limit", default="8GiB", help="bytes that may be in use on a GPU")
    found.add_argument("--block-rows", type=int, default=2**21, help="rows of a block; each has 16 entries")
    found.add_argument("--repeats", type=int, default=7)
    found.add_argument("--timeout", type=float, default=100, help="seconds that one contender may take")
    found.add_argument("--only", help=f"some of {','.join(sparse_stream_works.CONTENDERS)}")
    found.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    found.add_argument("--contender", help=argparse.SUPPRESS)
    return found


def compare(arguments: argparse.Namespace) -> None:
    """Let every contender multiply, one after the other, and record it."""
    settings = apart.settings(arguments)
    settings["dtype"] = "float64"
    name = "sparse_stream_gpu" + (f"_{arguments.gpus}" if arguments.gpus > 1 else "")
    found: dict[str, Any] = {}
    print(f"{'contender':<12}{'bytes':>10}   made s  first s  median s    GB/s  of the links", flush=True)
    for contender in arguments.only.split(",") if arguments.only else sparse_stream_works.CONTENDERS:
        found[contender] = apart.printed_by([*sys.argv, "--contender", contender], arguments.timeout)
        agreement.agree(found, WITHIN)
        print(line(contender, found), flush=True)
        # What was measured must stay even if the rest is cut off.
        path = record.write(name, {"settings": settings, "outcomes": {WORK: found}}, arguments.results)
    print(f"written: {path}")


def compete(arguments: argparse.Namespace) -> None:
    """Multiply as one contender, in this process, and print the figures before anything is taken down."""
    limit_nbytes = parse_nbytes(arguments.device_limit)
    matrix_nbytes = TIMES_THE_LIMIT * limit_nbytes * arguments.gpus
    size = sparse_stream_matrix.size_of(matrix_nbytes, arguments.block_rows, arguments.repeats)
    limits = Limits("cuda", limit_nbytes, HOST_SHARE * matrix_nbytes)
    multiply = sparse_stream_works.CONTENDERS[arguments.contender]

    def measure(stack: Any, found: dict[str, Any]) -> None:
        if limits.workers != arguments.gpus:
            raise RuntimeError(f"--gpus {arguments.gpus}: there are {limits.workers}")
        found |= multiply(stack, limits, size)

    apart.tell(measure)


def line(contender: str, outcomes: dict[str, Any]) -> str:
    """A row of the table."""
    found, start = outcomes[contender], f"{contender:<12}"
    if "failed" in found:
        return f"{start}{found['failed'].splitlines()[0]}"
    links = [one["link_gb_per_s"] for one in outcomes.values() if "link_gb_per_s" in one]
    share = f"{found['gb_per_s'] / links[0]:14.3f}" if links else ""
    used = [format_nbytes(found[name]) for name in ("peak_device_nbytes", "limit_nbytes") if name in found]
    peak = f", {' of '.join(used)} in use on a GPU" if used else ""
    seconds = f"{found['made_s']:9.1f}{found['first_s']:9.2f}{statistics.median(found['warm_s']):10.3f}"
    return f"{start}{format_nbytes(found['nbytes']):>10}{seconds}{found['gb_per_s']:8.2f}{share}{peak}"


if __name__ == "__main__":
    main()
