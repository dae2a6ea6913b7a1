"""What a session shows: its plan, a progress bar, and its report; on a terminal and in a log alike."""

import dataclasses
import textwrap
import time
from types import TracebackType
from typing import Any, Self

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from overspill.cli.solving import Solving
from overspill.cli.status import sentence
from overspill.cluster import Cluster
from overspill.runs.params import Nbytes
from overspill.runs.preview import Preview, Result
from overspill.runs.report import Report
from overspill.runs.session import Interrupted, Job
from overspill.units import format_nbytes, format_rate, format_seconds

LABEL_WIDTH = 14
"""Columns of a line before what it says, more where a name takes more."""


class Display:
    """Prints how a session goes; a `Watcher` of it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._progress = Progress(
            TextColumn("computing "),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("blocks{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            expand=True,
        )
        self._solving = Solving(self._console)
        self._flop = 0
        self._budget_nbytes = 0
        self._begun = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.checking()

    def began(self, job: Job) -> None:
        """Print the workflow's name and parameters."""
        values = {field.name: getattr(job.params, field.name) for field in dataclasses.fields(job.params)}
        self._rows(
            [(job.workflow.name, "  ".join(f"{key}={_value(value)}" for key, value in values.items()))], style="bold"
        )

    def preview(self, preview: Preview) -> None:
        """Print the results to be made, and the plan."""
        planned = preview.plan.rows(only_saved=True)
        # The plan's first row tells of one result; here there may be several, by name.
        rows = [(name, value) for name, value in planned if name != "result"]
        self._rows([(result.name, _describe(result)) for result in preview.results])
        self._rows(rows)

    def note(self, text: str) -> None:
        """Print a line beside the point."""
        self._console.print(Text(text, style="dim"))

    def planned(self, preview: Preview, cluster: Cluster) -> None:
        """Print the plan and where to watch, and begin the progress bar."""
        self.preview(preview)
        if cluster.dashboard_link:
            self._rows([("dashboard", cluster.dashboard_link)])
        self._flop = preview.plan.flop
        self._budget_nbytes = cluster.resources.pool_nbytes
        self._begun = time.perf_counter()
        self._task = self._progress.add_task("", total=preview.blocks, rate="", left="")
        self._progress.start()

    def advanced(self, done: int, total: int, kept: int) -> None:
        """Move the progress bar, with the rate so far and the time left."""
        new = done - kept
        if not new:
            self._begun = time.perf_counter()
        seconds = time.perf_counter() - self._begun
        rate, left = "", ""
        if new:
            left = f"{format_seconds(seconds / new * (total - done))} left" if done < total else ""
            rate = f", {format_rate(self._flop * new / total / seconds, 'FLOP/s')}" if self._flop else ""
        self._progress.update(self._task, completed=done, total=total, rate=rate, left=left)

    def solving(self) -> None:
        """End the progress bar, and show what the solver says."""
        self._end_progress()
        self._solving.begin()

    def checking(self) -> None:
        """End what moves, and print the solver's last words."""
        self._end_progress()
        self._solving.end()
        if self._solving.last:
            self._rows([("solved", self._solving.last)])
            self._solving.last = ""

    def _end_progress(self) -> None:
        if self._progress.live.is_started:
            self._progress.stop()

    def interrupted(self, stop: Interrupted) -> None:
        """Print what is stored and how to go on."""
        self.checking()
        click.echo(sentence(stop), err=True)

    def report(self, report: Report) -> None:
        """Print the results, what they took, whether they are right, and where they lie."""
        self._rows([("computed", _speed(report)), ("tiles", self._tiles(report)), *_spilled(report)])
        for name, value in report.values.items():
            self._console.print(Text(f"{name}: {_value(value)}", style="bold"))
        for check in report.checks:
            style = "green" if check.passed else "bold red"
            self._rows([("verified" if check.passed else "NOT RIGHT", check.summary)], style=style)
        paths = [("result", path) for path in report.stores] + [("file", path) for path in report.files]
        self._rows([(label, str(path)) for label, path in [*paths, ("run", report.directory)]])

    def _tiles(self, report: Report) -> str:
        overflow = f", {format_nbytes(report.overflow_nbytes)} beyond it on disk" if report.overflow_nbytes else ""
        peak, budget = format_nbytes(report.peak_tiles_nbytes), format_nbytes(self._budget_nbytes)
        return f"{peak} at most, of a budget of {budget}{overflow}"

    def _rows(self, rows: list[tuple[str, str]], style: str = "cyan") -> None:
        labels = max([LABEL_WIDTH, *(len(name) + 1 for name, _ in rows)])
        for name, value in rows:
            # Words are never cut: paths and addresses stay whole, to be copied.
            width = max(20, self._console.width - labels)
            lines = textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False) or [""]
            label = Text(f"{name:<{labels}}", style=style)
            text = Text(("\n" + " " * labels).join(lines))
            self._console.print(label + text, soft_wrap=True)


def _describe(result: Result) -> str:
    if not result.shape:
        return f"a {result.dtype}"
    shape = " × ".join(map(str, result.shape))
    return f"{shape} {result.dtype}, {format_nbytes(result.nbytes)}, {_count(result.blocks, 'block')}"


def _speed(report: Report) -> str:
    figures = f"{_count(report.blocks, 'block')} in {format_seconds(report.seconds)}"
    if report.flop:
        figures += f": {format_rate(report.flop_per_s, 'FLOP/s')}"
    if report.predicted_s:
        figures += f" (predicted {format_seconds(report.predicted_s)})"
    return figures


def _spilled(report: Report) -> list[tuple[str, str]]:
    links = report.spilled_nbytes
    ways = []
    for where, down, up in (
        ("host memory", links["device_to_host"], links["host_to_device"]),
        ("disk", links["host_to_disk"], links["disk_to_host"]),
    ):
        if down or up:
            ways.append(f"{format_nbytes(down)} to {where} and {format_nbytes(up)} back")
    return [("spilled", ", ".join(ways))] if ways else []


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _value(value: Any) -> str:
    """A parameter or a result for people: whole numbers with separators."""
    if value is None:
        return "auto"
    if isinstance(value, Nbytes):
        return format_nbytes(value).replace(" ", "")
    if isinstance(value, np.generic) and value.dtype.kind in "iuf" and np.isfinite(value) and value == int(value):
        return f"{int(value):,}"
    return str(value)
