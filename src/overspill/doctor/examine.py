"""An examination from start to end: looked at, measured, advised, and the profile of it."""

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from overspill import machine
from overspill.doctor import measure, rates
from overspill.doctor.advice import of_facts
from overspill.doctor.facts import Facts
from overspill.doctor.figures import Figure, Side
from overspill.doctor.look import look
from overspill.doctor.probe import Effort
from overspill.doctor.shortfalls import of_figures
from overspill.errors import ClusterError
from overspill.profile import Profile


class Watcher(Protocol):
    """Who is told how an examination goes."""

    def looked(self, facts: Facts) -> object:
        """Called once, before anything is measured."""

    def doing(self, what: str) -> object:
        """Called before each figure, and before workers start."""

    def measured(self, figure: Figure) -> object:
        """Called with each figure."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found.

    Attributes
    ----------
    facts
        What the machine is.
    figures
        What was measured; empty if nothing was to be.
    advice
        What to mend, a line each.
    profile
        What plans may use from now on; None if nothing was measured.
    """

    facts: Facts
    figures: tuple[Figure, ...]
    advice: tuple[str, ...]
    profile: Profile | None


def examine(folder: Path, effort: Effort | None, watcher: Watcher) -> Examination:
    """Examine this machine.

    Parameters
    ----------
    folder
        Where results are spilled to: its disk is measured.
    effort
        How much to measure; None for looking only, which starts nothing.
    watcher
        Who is told how it goes.

    Raises
    ------
    UsageError
        If there is no such folder.
    """
    facts = look(folder)
    watcher.looked(facts)
    advice, figures = list(of_facts(facts)), list[Figure]()
    if effort is None:
        return Examination(facts, (), tuple(advice), None)
    effort = replace(effort, folder=str(folder))
    for side in sides(facts):
        try:
            # Closed, and its workers with it, however this ends.
            with closing(measure.figures(side, effort, watcher.doing)) as measured:
                for figure in measured:
                    figures.append(figure)
                    watcher.measured(figure)
        except (ClusterError, OSError) as error:  # those of the network, time-outs too, are of the latter kind
            advice.append(f"workers to measure on cannot be started: {measure.one_line(error)}")
    known = machine.known_products() if facts.cuda.gpus else {}
    advice += of_figures(facts, figures, known)
    here = machine.this_machine(gpus=bool(facts.cuda.gpus))
    found = rates.profile(datetime.now(UTC).isoformat(timespec="seconds"), here, facts, figures)
    return Examination(facts, tuple(figures), tuple(advice), found if figures else None)


def sides(facts: Facts) -> tuple[Side, ...]:
    """What can be measured: cores, and GPUs if CuPy and dask-cuda can use them."""
    usable = facts.cuda.gpus and not facts.cuda.missing and "dask-cuda" in facts.versions
    return ("cpu", "cuda") if usable else ("cpu",)
