"""Solvers on all GPUs of this server: power iteration, and conjugate gradients on Poisson's equation, per iteration.

    python benchmarks/solvers_gpu.py [--rows 16777216] [--band 16] [--side 512] [--steps 100] [--only power,cg]

Matrices lie in GPU memory, float64, a row block on each GPU. Beside this library's long tasks run stock Dask, whose
products are a task each, and CuPy's solver on one GPU; each contender alone, in a process of its own. Times count once
all contenders of a work agree on the eigenvalue or the residual. Writes ``results/solvers_gpu.json``.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import agreement
import apart
import record
import solver_works
from solver_works import Size

from overspill import backend


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2**24, help="of the matrix of the power iteration")
    parser.add_argument("--band", type=int, default=16, help="entries in each of its rows")
    parser.add_argument("--side", type=int, default=512, help="points along an edge of the cube")
    parser.add_argument("--steps", type=int, default=100, help="iterations timed together")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gpus", type=int, default=len(backend.gpus()))
    parser.add_argument("--timeout", type=float, default=120, help="seconds that one contender may take")
    parser.add_argument("--only", help=f"some of {','.join(solver_works.WORKS)}")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory for the JSON file")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    apart.run(arguments, compete, compare)


def compare(arguments: argparse.Namespace) -> None:
    """Let every contender do every work, one after the other, and record it."""
    settings = apart.settings(arguments)
    outcomes: dict[str, dict[str, Any]] = {}
    print(f"{'work':<8}{'contender':<20}{'ms an iteration':>16}   times the first's", flush=True)
    for work in arguments.only.split(",") if arguments.only else solver_works.WORKS:
        outcomes[work] = {}
        for contender in solver_works.WORKS[work]:
            program = [*sys.argv, "--only", work, "--contender", contender]
            outcomes[work][contender] = apart.printed_by(program, arguments.timeout)
            agreement.agree(outcomes[work])
            print(line(work, contender, outcomes[work], arguments.steps), flush=True)
            # What was measured must stay even if the rest is cut off.
            path = record.write("solvers_gpu", {"settings": settings, "outcomes": outcomes}, arguments.results)
    print(f"written: {path}")


def compete(arguments: argparse.Namespace) -> None:
    """Do one work as one contender, in this process, and print the figures before anything is taken down."""
    names = ("rows", "band", "side", "steps", "repeats", "gpus")
    size = Size(**{name: getattr(arguments, name) for name in names})
    work = solver_works.WORKS[arguments.only][arguments.contender]
    apart.tell(lambda stack, found: found.update(work(stack, size)))


def line(work: str, contender: str, outcomes: dict[str, Any], steps: int) -> str:
    """A row of the table."""
    found, first = outcomes[contender], next(iter(outcomes.values()))
    start = f"{work:<8}{contender:<20}"
    if "failed" in found:
        return f"{start}{found['failed'].splitlines()[0]}"
    own = statistics.median(found["seconds"])
    ratio = f"{own / statistics.median(first['seconds']):8.2f}" if "seconds" in first else ""
    return f"{start}{1000 * own / steps:16.3f}   {ratio}"


if __name__ == "__main__":
    main()
