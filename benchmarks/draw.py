"""Draw the results of the benchmarks: a picture a file, a panel a work, a bar a contender, a dot a repetition.

    python benchmarks/draw.py [--results DIR] [--pictures DIR] [--page FILE] [--readme FILE]

Reads every ``NAME.json`` in `results/`, writes ``NAME.svg``, and puts picture and table into ``docs/performance.md``,
where that says ``<!-- figures: NAME -->``, and a digest of all into ``README.md``, at ``<!-- digest -->``. Drawing the
same results again writes the same bytes.
"""

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import captions
import digest
import matplotlib
import panels
import record
import tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from panels import Panel, Row

DOCS = Path(__file__).parents[1] / "docs"

PICTURES, PAGE, README = DOCS / "pictures" / "results", DOCS / "performance.md", DOCS.with_name("README.md")

OURS, OUR_DOTS = "#64a1f7", "#0b4cc2"
OTHERS, OTHER_DOTS = "#c3c9d1", "#59636e"
RULE, WORDS = "#c2410c", "#b42318"

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # as wide as any, so that other fonts fit too where a reader lacks it
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "text.parse_math": False,
    "axes.facecolor": "none",
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "svg.fonttype": "none",
    "svg.hashsalt": "overspill",  # else names within the file are drawn at random
}

WIDTH_IN, LINE_IN, GAP_IN = 8.6, 0.16, 0.12
PANEL_IN, PAGE_IN = 0.62, 1.02
WORDS_WIDTH = 80


def main() -> None:
    """Draw every file of results, and write the tables of both pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="directory of the JSON files")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="directory for the SVG files")
    parser.add_argument("--page", type=Path, default=PAGE, help="the Markdown file with places for pictures and tables")
    parser.add_argument("--readme", type=Path, default=README, help="the Markdown file with a place for the digest")
    arguments = parser.parse_args()
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    results = {path.stem: json.loads(path.read_text()) for path in sorted(arguments.results.glob("*.json"))}
    for name, figures in results.items():
        picture = arguments.pictures / f"{name}.svg"
        with matplotlib.rc_context(STYLE):
            page(name, figures).savefig(picture, metadata={"Date": None, "Creator": None})
        print(f"written: {picture}")
    for path, filled in ((arguments.page, tables.filled), (arguments.readme, digest.filled)):
        try:
            path.write_text(filled(path.read_text(), results))
        except (tables.PlaceError, digest.MissingError) as error:
            sys.exit(f"{path}: {error}")
        print(f"written: {path}")


def page(name: str, figures: Mapping[str, Any]) -> Figure:
    """All panels of one file below each other."""
    found = panels.read(name, figures)
    about = captions.subject(name)
    lines = 1 + max(captions.right_of(row, panel.unit).count("\n") for panel in found for row in panel.rows)
    row_in = lines * LINE_IN + GAP_IN
    heights = [len(panel.rows) * row_in for panel in found]
    around_in = sum(PANEL_IN + (LINE_IN if panel.line else 0) for panel in found)
    figure = Figure((WIDTH_IN, PAGE_IN + around_in + sum(heights)), layout="constrained")
    figure.suptitle(about.title, x=0.01, ha="left")
    axes = figure.subplots(len(found), height_ratios=heights, squeeze=False)[:, 0]
    for axis, panel in zip(axes, found, strict=True):
        axis.set_title(captions.heading(about, panel.work))
        draw(axis, panel)
    text = "\n".join(textwrap.fill(line, 118) for line in captions.caption(figures, found))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=9, color=OTHER_DOTS, linespacing=1.4)
    return figure


def draw(axis: Axes, panel: Panel) -> None:
    """The bars of a work, names on their left and figures on their right."""
    positions = range(len(panel.rows))
    for position, row in zip(positions, panel.rows, strict=True):
        bar(axis, position, row)
    axis.set_yticks(positions, [row.contender for row in panel.rows])
    axis.set_ylim(len(panel.rows) - 0.5, -0.5)
    values = axis.secondary_yaxis("right")
    values.set_yticks(positions, [captions.right_of(row, panel.unit) for row in panel.rows])
    for label, row in zip(axis.get_yticklabels(), panel.rows, strict=True):
        label.set(fontweight="bold" if row.is_ours else "normal", color=OUR_DOTS if row.is_ours else "black")
    for side in (axis, values):
        side.tick_params(axis="y", length=0)
        side.spines[:].set_visible(False)
    axis.grid(axis="x", color="#e5e8ec", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="x", length=0, colors=OTHER_DOTS, labelsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    if all(row.middle is None for row in panel.rows):
        axis.set_xticks([])
    if panel.line:
        axis.axvline(panel.line.value, color=RULE, linestyle=(0, (4, 2)), linewidth=1.2)
        above = axis.secondary_xaxis("top")
        above.set_xticks([panel.line.value], [f"{panel.line.name}: {captions.figure(panel.line.value, panel.unit)}"])
        above.tick_params(length=0, pad=1, colors=RULE, labelsize=9)
        above.spines[:].set_visible(False)
    axis.set_xlim(left=0)


def bar(axis: Axes, position: int, row: Row) -> None:
    """One contender: its median, its repetitions, its first run; in words if it failed."""
    if row.middle is None:
        words = textwrap.wrap(row.trouble, WORDS_WIDTH, max_lines=1, placeholder=" …")[0]
        # Over the column of figures, where it has none.
        axis.text(0, position, f" {words}", va="center_baseline", color=WORDS, style="italic").set_in_layout(False)
        return
    fill, dots = (OURS, OUR_DOTS) if row.is_ours else (OTHERS, OTHER_DOTS)
    axis.barh(position, row.middle, height=0.66, color=fill)
    above: dict[str, Any] = {"zorder": 3, "clip_on": False}
    axis.scatter(row.repetitions, [position] * len(row.repetitions), s=11, color=dots, alpha=0.75, linewidth=0, **above)
    if row.first is not None:
        axis.scatter([row.first], [position], s=16, facecolor="white", edgecolor=dots, linewidth=1, **above)


if __name__ == "__main__":
    main()
