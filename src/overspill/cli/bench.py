"""``overspill bench``: the benchmarks of a source checkout, which are plain scripts beside the package."""

import ast
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from overspill import backend
from overspill.errors import UsageError

SIDES: Final = ("gpu", "cpu")
"""What a benchmark's name ends with: which machines it is for."""

_TOLD_APART_BY: Final = "record.py"
"""What a directory of ours holds, and no other project's."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name", required=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def bench(name: str | None, options: tuple[str, ...]) -> None:
    """Run the benchmark NAME with its own OPTIONS, or list what there is.

    Of a benchmark for both, the side that this machine has is run: `matmul` is `matmul_gpu` where there are GPUs, else
    `matmul_cpu`. `overspill bench matmul --help` tells what it takes. Ends with the script's exit status.
    """
    directory = _directory()
    if name is None:
        for script in _scripts(directory):
            click.echo(f"{script.stem:<20} {_first_line(script)}")
        return
    script = chosen(name, directory, gpus=bool(backend.gpus()))
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(script), *options])


def chosen(name: str, directory: Path, *, gpus: bool) -> Path:
    """The script that `name` means, with its side or without.

    Raises
    ------
    UsageError
        If there is none of this name, or none for a machine with, or without, `gpus`.
    """
    scripts = {script.stem: script for script in _scripts(directory)}
    if name in scripts:
        return scripts[name]
    sides = [side for side in SIDES if f"{name}_{side}" in scripts]
    if not sides:
        known = dict.fromkeys(stem.rpartition("_")[0] for stem in scripts)
        raise UsageError(f"there is no benchmark {name!r}: choose one of {', '.join(known)}")
    wanted = "gpu" if gpus and "gpu" in sides else "cpu"
    if wanted not in sides:
        raise UsageError(f"benchmark {name!r} needs a GPU and there is none here: run it where there is one")
    return scripts[f"{name}_{wanted}"]


def _directory() -> Path:
    """Where the benchmarks lie: beside the package's source, or in the current directory."""
    for root in (Path(__file__).parents[3], Path.cwd()):
        directory = root / "benchmarks"
        if (directory / _TOLD_APART_BY).exists():
            return directory
    raise UsageError(
        "benchmarks are not part of the installed package: run this in a checkout of Overspill's source, or install "
        "that with pip install -e ."
    )


def _scripts(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.glob("*.py")) if path.stem.endswith(tuple(f"_{side}" for side in SIDES)))


def _first_line(script: Path) -> str:
    return (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").partition("\n")[0]
