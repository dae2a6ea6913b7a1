"""What a file of results says, as panels of rows: a panel a work, a row a contender, every repetition kept."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from overspill.units import parse_nbytes

Measure = Callable[[float], float]
"""What is told of so many seconds: them, or a speed."""

RULER = "cp"
"""The contender that copies the same bytes and computes nothing: what the others are measured against."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one contender did.

    Attributes
    ----------
    contender
        Its name in the file.
    middle
        The speed at the median of the repetitions' seconds, or these seconds, in the panel's unit; of the first run if
        there were no more; None if it failed.
    repetitions
        The same of each repetition.
    first
        The same of the first run, where the file tells it apart from the repetitions.
    n
        Rows of its matrices, where contenders may differ.
    nbytes, limit_nbytes
        Bytes of its data, and of results that a worker of its may keep before they spill, where contenders may differ.
    gpus
        How many it had.
    ceiling
        What the same GPUs reach at once on products in their own memory, in the panel's unit.
    alone
        What one of them reaches there while the others rest, times their number.
    predicted_s, measured_s
        Seconds that the plan gave, and the median of those that it took.
    planned_nbytes, in_use_nbytes
        Most bytes on a GPU: by the plan, and by the driver.
    undisturbed_s
        Seconds of the same work when nobody was killed on the way.
    trouble
        Why it failed, or how it ended after all.
    """

    contender: str
    middle: float | None
    repetitions: tuple[float, ...] = ()
    first: float | None = None
    n: int | None = None
    nbytes: int | None = None
    limit_nbytes: int | None = None
    gpus: int | None = None
    ceiling: float | None = None
    alone: float | None = None
    predicted_s: float | None = None
    measured_s: float | None = None
    planned_nbytes: int | None = None
    in_use_nbytes: int | None = None
    undisturbed_s: float | None = None
    trouble: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this library did it, in whichever way."""
        return self.contender.startswith("overspill")


@dataclass(frozen=True, slots=True)
class Line:
    """A measured ceiling, or what else all contenders are compared with."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One work: its name in the file, its unit, its contenders in the file's order, what they are measured against."""

    work: str
    unit: str
    rows: tuple[Row, ...]
    line: Line | None


def read(name: str, figures: Mapping[str, Any]) -> list[Panel]:
    """The panels of what a benchmark has recorded in the file `name`; raises ValueError where nothing was timed."""
    if "outcomes" in figures:
        return [panel for work, found in figures["outcomes"].items() for panel in _contest(work, found)]
    if "matrices" in figures:
        copying = Line("copying", figures["copy_gb_per_s"])
        named = (
            (f"{name}, {dtype}", found) for name, types in figures["matrices"].items() for dtype, found in types.items()
        )
        return [_products(work, found, copying) for work, found in named]
    if "warm_s" in figures:
        return [_against_peak(figures)]
    if "seconds" in figures:
        seconds = figures["seconds"]
        races = seconds if all(isinstance(found, Mapping) for found in seconds.values()) else {"": seconds}
        nbytes = figures.get("settings", {}).get("nbytes")
        return [_race(work, found, None if nbytes is None else parse_nbytes(nbytes)) for work, found in races.items()]
    raise ValueError(
        f'{name} has no "outcomes", "matrices", "warm_s" or "seconds": say in benchmarks/panels.py how to read it'
    )


def _race(work: str, seconds: Mapping[str, list[float]], nbytes: int | None) -> Panel:
    """Contenders that did the same work in turn: their speeds where its bytes are known, else their seconds."""
    measure = _itself if nbytes is None else _per_s(nbytes / 1e9)
    rows = tuple(
        Row(contender, measure(statistics.median(times)), tuple(map(measure, times)))
        for contender, times in seconds.items()
    )
    rulers = (Line(RULER, measure(statistics.median(times))) for name, times in seconds.items() if name == RULER)
    return Panel(work, "s" if nbytes is None else "GB/s", rows, next(rulers, None))


def _contest(work: str, found: Mapping[str, Mapping[str, Any]]) -> Iterable[Panel]:
    """Contenders that each did the work on data of their own, then races that one of them held within itself."""
    if "seconds" in found:  # a race, and what it was run on
        yield _race(work, found["seconds"], None)
        return
    timed = {name: one for name, one in found.items() if {"failed", "warm_s", "tflop_per_s", "killed_s"} & one.keys()}
    if timed:
        rows = tuple(_row(contender, one) for contender, one in timed.items())
        yield Panel(work, _unit(timed), rows, _ruler(timed))
    if alike := {contender: one["seconds"] for contender, one in found.items() if isinstance(one.get("seconds"), list)}:
        yield _race(work, alike, None)
    for one in found.values():
        if isinstance(one.get("seconds"), Mapping):
            yield _race(work, one["seconds"], None)
        for part, within in one.items():
            if isinstance(within, Mapping) and "seconds" in within:
                yield _race(f"{work}, {part}", within["seconds"], None)


def _products(work: str, found: Mapping[str, Any], copying: Line) -> Panel:
    """Products of one sparse matrix, all of the same bytes."""
    measure = _per_s(found["nbytes"] / 1e9)
    rows = (
        Row(contender, None, trouble=f"failed: {one['failed'].splitlines()[0]}")
        if "failed" in one
        else Row(contender, measure(one["median_s"]))  # repetitions are within a few hundredths
        for contender, one in found["matvec"].items()
    )
    return Panel(work, "GB/s", tuple(rows), copying)


def _unit(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What contenders' figures are counted in."""
    keys = set().union(*(one.keys() for one in found.values()))
    return "s" if "killed_s" in keys else "TFLOP/s" if "flop" in keys else "GB/s"


def _ruler(found: Mapping[str, Mapping[str, Any]]) -> Line | None:
    """What the links carry, or what the GPUs reach in their own memory; none where that differs between contenders."""
    if links := [one["link_gb_per_s"] for one in found.values() if "link_gb_per_s" in one]:
        return Line("links", links[0])
    peaks = [one["peak_tflop_per_s"] for one in found.values() if "peak_tflop_per_s" in one]
    return Line("in GPU memory", peaks[0]) if len(peaks) == 1 else None


def _row(contender: str, found: Mapping[str, Any]) -> Row:
    if "failed" in found:
        return Row(contender, None, trouble=f"failed: {found['failed'].splitlines()[0]}")
    if "killed_s" in found:
        about = {name: found[name] for name in ("n", "nbytes", "gpus", "undisturbed_s")}
        return Row(contender, found["killed_s"], limit_nbytes=found.get("limit_nbytes"), **about)
    if "warm_s" not in found:
        return Row(contender, found["tflop_per_s"], n=found["n"], gpus=found["gpus"])
    alone = found["gpus"] * found["one_gpu_tflop_per_s"] if "one_gpu_tflop_per_s" in found else None
    return replace(
        _repeated(contender, _per_s(found["flop"] / 1e12 if "flop" in found else found["nbytes"] / 1e9), found),
        n=found.get("n"),
        nbytes=found["nbytes"],
        limit_nbytes=found.get("limit_nbytes"),
        gpus=found.get("gpus"),
        ceiling=found.get("peak_tflop_per_s"),
        alone=alone,
        predicted_s=found.get("predicted_s"),
        planned_nbytes=found.get("planned_device_nbytes"),
        in_use_nbytes=found.get("peak_device_nbytes"),
        trouble=f"but its program {found['unended']}" if "unended" in found else None,
    )


def _against_peak(figures: Mapping[str, Any]) -> Panel:
    """One product, repeated, beside what the same GPUs reach in their own memory."""
    plan, peak = figures["plan"], figures["peak_tflop_per_s"]
    row = _repeated("overspill", _per_s(plan["flop"] / 1e12), figures)
    row = replace(row, ceiling=peak, predicted_s=plan["predicted_s"])
    return Panel("", "TFLOP/s", (row,), Line("in GPU memory", peak))


def _repeated(contender: str, measure: Measure, found: Mapping[str, Any]) -> Row:
    """Who did something a first time and then again."""
    first_s, warm_s = found["first_s"], found["warm_s"]
    median_s = statistics.median(warm_s or [first_s])
    return Row(contender, measure(median_s), tuple(map(measure, warm_s)), measure(first_s), measured_s=median_s)


def _per_s(amount: float) -> Measure:
    return lambda seconds: amount / seconds


def _itself(seconds: float) -> float:
    return seconds
