"""``overspill doctor``: measures this machine, says what to mend, and stores the profile that plans use."""

import json
import textwrap
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Self

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from overspill import profile
from overspill.cli.status import DONE, FAILED
from overspill.doctor.examine import Examination, examine
from overspill.doctor.facts import Facts
from overspill.doctor.figures import Figure, Side
from overspill.doctor.look import spill_folder
from overspill.doctor.probe import Effort
from overspill.doctor.report import document, fact_rows, figure_cells
from overspill.errors import StorageError

EFFORT = Effort()
"""How much is measured: in some 20 s on two cores, and under a minute on a server."""

LABEL_WIDTH = 14

NAME_WIDTH = 27

CELL_WIDTH = 17


@click.command()
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Whose disk to measure [where clusters spill to].",
)
@click.option("--dry-run", is_flag=True, help="Look only; start nothing, measure nothing, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.pass_context
def doctor(ctx: click.Context, folder: Path | None, dry_run: bool, as_json: bool) -> None:
    """Measure this machine, say what to mend, and store the profile that plans use from now on.

    Exit status: 0 nothing to mend, 1 something to mend, 2 usage. docs/doctor.md says what the figures mean.
    """
    with Display(quiet=as_json) as display:
        found = examine(folder or spill_folder(), None if dry_run else EFFORT, display)
    found, stored = _store(found)
    if as_json:
        click.echo(json.dumps(document(found, stored), indent=1, ensure_ascii=False))
    else:
        display.found(found, stored)
    ctx.exit(FAILED if found.advice else DONE)


def _store(found: Examination) -> tuple[Examination, Path | None]:
    """Write the profile and say where; where it cannot be written, that is something to mend as well."""
    target = profile.path()
    if found.profile is None or target is None:
        return found, None
    try:
        profile.save(found.profile, target)
    except StorageError as error:
        return replace(found, advice=(*found.advice, str(error))), None
    return found, target


class Display:
    """Prints facts and figures as they are found; a `Watcher` of an examination.

    Parameters
    ----------
    quiet
        Whether to say only, on a terminal, what is being measured.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(highlight=False, stderr=quiet)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", start=True)
        self._side: Side | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def looked(self, facts: Facts) -> None:
        """Print the facts."""
        for name, value in fact_rows(facts):
            self._print(_wrapped(name, value, self._console.width))

    def doing(self, what: str) -> None:
        """Show what is done now."""
        self._progress.start()
        self._progress.update(self._task, description=what)

    def measured(self, figure: Figure) -> None:
        """Print a figure, the first of a side below what the columns are."""
        if figure.side != self._side:
            self._side = figure.side
            of = "GPU" if figure.side == "cuda" else "core"
            several = len(figure.each_per_s) != 1
            heads = (f"one {of} alone", *(("each while busy", "all together") if several else ()))
            self._print(Text(f"\n{f'a {of}':<{NAME_WIDTH}}" + _cells(heads), style="bold"))
        name, *cells = figure_cells(figure)
        if figure.failure:
            self._print(_wrapped(name, cells[0], self._console.width, label_width=NAME_WIDTH))
        else:
            self._print(Text(f"{name:<{NAME_WIDTH}}", style="cyan") + Text(_cells(cells)))

    def found(self, examination: Examination, stored: Path | None) -> None:
        """Print what to mend, and where the profile lies."""
        self._print(Text())
        for line in examination.advice:
            self._print(_wrapped("to mend", line, self._console.width, "bold yellow"))
        if not examination.advice:
            self._print(_wrapped("to mend", "nothing", self._console.width, "bold green"))
        if examination.profile is None:
            self._print(Text("a dry run: nothing was measured and nothing written", style="dim"))
        else:
            said = f"{stored}, which plans use from now on" if stored else "not stored"
            self._print(_wrapped("profile", said, self._console.width))

    def _print(self, text: Text) -> None:
        if not self._quiet:
            self._console.print(text, soft_wrap=True)


def _cells(cells: Iterable[str]) -> str:
    return "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells).rstrip()


def _wrapped(name: str, value: str, width: int, style: str = "cyan", label_width: int = LABEL_WIDTH) -> Text:
    """A label and what it says, whose words are never cut: paths and commands stay whole, to be copied."""
    lines = textwrap.wrap(value, max(20, width - label_width), break_long_words=False, break_on_hyphens=False)
    return Text(f"{name:<{label_width}}", style=style) + Text(("\n" + " " * label_width).join(lines))
