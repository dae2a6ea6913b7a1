"""The figures of result files as tables of a Markdown page, each where the page has a place for it."""

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import captions
import panels
from panels import Panel, Row

from overspill.units import format_nbytes, format_seconds

PLACE = re.compile(r"<!-- figures: (\S+) -->\n(.*?)<!-- end of figures -->", re.DOTALL)

LONGEST_REMARK = 110


class PlaceError(ValueError):
    """A result that has no place on the page, or a place without a result."""


@dataclass(frozen=True, slots=True)
class Column:
    """What a table tells of a row; left out where no row has it."""

    title: str
    tell: Callable[[Panel, Row], str | None]


def filled(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with every place filled by what the results say now.

    Raises
    ------
    PlaceError
        If a result has no place, or more than one, or a place has no result.
    """
    places = [found[1] for found in PLACE.finditer(page)]
    if missing := sorted(results.keys() - places):
        raise PlaceError(
            f"no place for the figures of {', '.join(missing)}: write '<!-- figures: {missing[0]} -->' and "
            f"'<!-- end of figures -->' where they belong"
        )
    if stray := sorted({name for name in places if name not in results or places.count(name) > 1}):
        raise PlaceError(f"figures of {', '.join(stray)} have a place more than there are results: take it out")
    return PLACE.sub(
        lambda found: f"<!-- figures: {found[1]} -->\n{section(found[1], results[found[1]])}<!-- end of figures -->",
        page,
    )


def section(name: str, figures: Mapping[str, Any]) -> str:
    """Where it was measured, the picture, and the table."""
    found, about = panels.read(name, figures), captions.subject(name)
    source = f"[`{name}.json`](../benchmarks/results/{name}.json)"
    picture = f"![{about.title}](pictures/results/{name}.svg)"
    return f"\n{captions.measured(figures)}; {source}.\n\n{picture}\n\n{table(about, found)}\n"


def table(about: captions.Subject, found: Sequence[Panel]) -> str:
    """All panels of a file in one table."""
    rows = [(panel, row) for panel in found for row in panel.rows]
    several = any(panel.work for panel in found)
    told = [[_heading(about, panel, row)] * several + [_name(row)] for panel, row in rows]
    titles = ["work"] * several + ["contender"]
    for column in COLUMNS:
        cells = [column.tell(panel, row) for panel, row in rows]
        if any(cells):
            titles.append(column.title)
            told = [[*cells_before, cell or ""] for cells_before, cell in zip(told, cells, strict=True)]
    return markdown(titles, told)


def ceiling(panel: Panel, row: Row) -> float | None:
    """What the row is a share of: its own ceiling, or what its panel is measured against; None of the ruler itself."""
    if panel.unit == "s" or row.contender == panels.RULER:
        return None
    return row.ceiling or (panel.line.value if panel.line else None)


def _heading(about: captions.Subject, panel: Panel, row: Row) -> str:
    return captions.heading(about, panel.work) if row is panel.rows[0] else ""


def _name(row: Row) -> str:
    return f"**{row.contender}**" if row.is_ours else row.contender


def _median(panel: Panel, row: Row) -> str | None:
    return None if row.middle is None else captions.figure(row.middle, panel.unit)


def _range(panel: Panel, row: Row) -> str | None:
    if len(row.repetitions) < 2:
        return None
    least, most = (captions.number(choose(row.repetitions)) for choose in (min, max))
    return f"{least} to {most}"


def _first(panel: Panel, row: Row) -> str | None:
    return None if row.first is None else captions.number(row.first)


def _share(panel: Panel, row: Row) -> str | None:
    return _part(row.middle, ceiling(panel, row))


def _alone(panel: Panel, row: Row) -> str | None:
    return _part(row.middle, row.alone)


def _undisturbed(panel: Panel, row: Row) -> str | None:
    """How many times as long it took as when nobody was killed."""
    return _part(row.middle, row.undisturbed_s)


def _each(panel: Panel, row: Row) -> str | None:
    """Of one GPU, where their number is what is compared."""
    counts = {one.gpus for one in panel.rows}
    return captions.number(row.middle / row.gpus) if len(counts) > 1 and row.middle and row.gpus else None


def _part(value: float | None, whole: float | None) -> str | None:
    if value is None or whole is None:
        return None
    share = value / whole
    return f"{share:{'.2f' if share >= 0.01 else '.1g'}} of {captions.number(whole)}"


def _prediction(panel: Panel, row: Row) -> str | None:
    if row.predicted_s is None or row.measured_s is None:
        return None
    ratio = row.measured_s / row.predicted_s
    return f"{format_seconds(row.predicted_s)}, took {format_seconds(row.measured_s)} ({ratio:.2f} of it)"


def _device(panel: Panel, row: Row) -> str | None:
    if row.planned_nbytes is None or row.in_use_nbytes is None:
        return None
    return f"{format_nbytes(row.planned_nbytes)}, in use {format_nbytes(row.in_use_nbytes)}"


def _n(panel: Panel, row: Row) -> str | None:
    return None if row.n is None else str(row.n)


def _data(panel: Panel, row: Row) -> str | None:
    return None if row.nbytes is None else format_nbytes(row.nbytes)


def _limit(panel: Panel, row: Row) -> str | None:
    return None if row.limit_nbytes is None else format_nbytes(row.limit_nbytes)


def _trouble(panel: Panel, row: Row) -> str | None:
    return row.trouble and textwrap.shorten(row.trouble, LONGEST_REMARK, placeholder=" …")


COLUMNS = (
    Column("median", _median),
    Column("from, to", _range),
    Column("first", _first),
    Column("of the ceiling", _share),
    Column("of single GPUs, summed", _alone),
    Column("a GPU", _each),
    Column("of undisturbed seconds", _undisturbed),
    Column("planned seconds", _prediction),
    Column("planned bytes on a GPU", _device),
    Column("n", _n),
    Column("data", _data),
    Column("limit", _limit),
    Column("remark", _trouble),
)


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(_line(cells) for cells in (titles, ["---"] * len(titles), *rows)) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
