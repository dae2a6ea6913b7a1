"""Charts over time: what tiers held and what links carried. Each has a Bokeh model as `root` and draws a view."""

from collections.abc import Sequence
from html import escape

from bokeh.layouts import column
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.models.renderers import DataRenderer
from bokeh.models.widgets.markups import Div
from bokeh.plotting import figure

from overspill.dashboard import columns, style
from overspill.dashboard.columns import View
from overspill.memory.ledger import LINKS, Link
from overspill.memory.store.meter import Tier
from overspill.units import format_nbytes


class TierOverTime:
    """What workers held in one tier, stacked, against its limit."""

    def __init__(self, tier: Tier, time_range: Range1d) -> None:
        self.tier = tier
        self.bands = ColumnDataSource(columns.bands(columns.NOTHING, tier))
        self.limits = ColumnDataSource(columns.limits(columns.NOTHING, tier))
        self.title, self.y_range = style.title(), Range1d(start=0, end=1)
        plot = figure(
            title=self.title,
            height=style.HEIGHT,
            tools="",
            x_range=time_range,
            y_range=self.y_range,
            sizing_mode="stretch_width",
        )
        colour = style.TIER_COLOURS[tier]
        area = plot.patches(
            "xs", "ys", source=self.bands, fill_color=colour, fill_alpha="alpha", line_color=colour, line_width=0.5
        )
        plot.line("age_s", "limit_nbytes", source=self.limits, color=style.INK, line_dash="dashed", line_width=2)
        rows = [("worker", "@worker"), ("now", "@now"), ("limit", "@limit"), ("peak", "@peak")]
        self.root = style.dressed(plot, HoverTool(renderers=[area], tooltips=rows))
        style.byte_axis(plot.yaxis[0])
        style.age_axis(plot.xaxis[0])

    def update(self, view: View) -> None:
        """Draw `view`; nothing where the tier does not exist."""
        bands = columns.bands(view, self.tier)
        nbytes, limit_nbytes = columns.tier_nbytes(view, self.tier)
        highest = max((float(ys.max()) for ys in bands["ys"] if ys.size), default=0)
        self.root.visible = columns.exists(view, self.tier)
        self.y_range.end = style.HEADROOM * max(highest, limit_nbytes, nbytes, 1)
        limit = f", limit {format_nbytes(limit_nbytes)} (dashed)" if limit_nbytes else ""
        self.title.text = f"{style.TIER_TITLES[self.tier]}: {format_nbytes(nbytes)}{limit}"
        self.bands.data = bands
        self.limits.data = columns.limits(view, self.tier)


class LinksOverTime:
    """Throughput of the two links at one side of the host, over a key that says what they have carried in all."""

    def __init__(self, far: Tier, time_range: Range1d) -> None:
        self.far = far
        self.links = [link for link in LINKS if far in link]
        self.source = ColumnDataSource(columns.throughput(columns.NOTHING))
        self.y_range = Range1d(start=0, end=1)
        plot = figure(
            title=style.title(f"Throughput between host and {far}"),
            height=style.HEIGHT,
            tools="",
            x_range=time_range,
            y_range=self.y_range,
            sizing_mode="stretch_width",
        )
        lines: list[DataRenderer] = [
            plot.line(
                "age_s",
                link,
                source=self.source,
                color=style.TIER_COLOURS[far],
                line_dash=style.LINK_DASHES[link],
                line_width=2,
            )
            for link in self.links
        ]
        rows = [("", "@age_s{0} s"), *((style.LINK_TITLES[link], f"@{link}_text") for link in self.links)]
        style.dressed(plot, HoverTool(renderers=lines[:1], tooltips=rows, mode="vline"))
        style.rate_axis(plot.yaxis[0])
        style.age_axis(plot.xaxis[0])
        self.key = Div(styles={"color": style.INK, "font-size": "12px", "padding-left": "60px"})
        self.root = column(plot, self.key, sizing_mode="stretch_width")

    def update(self, view: View) -> None:
        """Draw `view`; nothing where the tier does not exist."""
        throughput = columns.throughput(view)
        highest = max((float(throughput[link].max()) for link in self.links if throughput[link].size), default=0)
        self.y_range.end = style.HEADROOM * max(highest, 1e6)
        self.root.visible = columns.exists(view, self.far)
        self.source.data = throughput
        self.key.text = key(view, self.far, self.links)


def key(view: View, far: Tier, links: Sequence[Link]) -> str:
    """A table that says which line is which link, and what it has carried."""
    found = columns.link_totals(view)
    cell = '<td style="padding-left:14px;text-align:right;white-space:nowrap">'
    rows = [cell + cell.join(("", "since start", "copied", "busy", "rate while busy"))]
    for link, text in zip(found["link"], found["text"], strict=True):
        if link in links:
            line = f"border-top:3px {style.LINK_DASHES[link]} {style.TIER_COLOURS[far]}"
            swatch = f'<span style="display:inline-block;width:24px;vertical-align:middle;{line}"></span>'
            rows.append(cell + cell.join((swatch, escape(style.LINK_TITLES[link]), *map(escape, text))))
    return f"<table><tr>{'<tr>'.join(rows)}</table>"
