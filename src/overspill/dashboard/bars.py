"""Charts of what is now: evictions so far, bytes and tasks of each worker. Each has a figure as `root`."""

from bokeh.models import ColumnDataSource, FactorRange, HoverTool, Range1d
from bokeh.plotting import figure
from distributed.dashboard.utils import update as send

from overspill.dashboard import columns, style
from overspill.dashboard.columns import View
from overspill.memory.store.meter import CAUSES, Tier


class Evictions:
    """Values moved a tier down, by cause."""

    def __init__(self) -> None:
        self.source = ColumnDataSource({"cause": [], "count": [], "text": [], "colour": []})
        self.x_range, self.y_range = Range1d(start=0, end=1), FactorRange()
        plot = figure(
            title=style.title("Evictions by cause, since start"),
            height=style.HEIGHT,
            width=380,
            tools="",
            x_range=self.x_range,
            y_range=self.y_range,
        )
        plot.hbar("cause", right="count", height=0.6, source=self.source, color="colour", alpha=0.9)
        plot.text(
            "count",
            "cause",
            "text",
            source=self.source,
            text_color=style.INK,
            text_font_size="12px",
            text_baseline="middle",
            x_offset=5,
        )
        self.root = style.dressed(plot)
        plot.ygrid.visible = False
        style.count_axis(plot.xaxis[0])

    def update(self, view: View) -> None:
        """Draw `view`; without the causes of a device where there is none."""
        found = columns.evictions(view)
        on_device = columns.exists(view, "device")
        shown = [row for row, cause in enumerate(CAUSES) if on_device or not cause.startswith("device")]
        data = {name: [values[row] for row in shown] for name, values in found.items()}
        self.y_range.factors = data["cause"][::-1]
        self.x_range.end = 1.3 * max(*data["count"], 4)
        send(self.source, data | {"colour": [style.CAUSE_COLOURS[CAUSES[row]] for row in shown]})


class TierBars:
    """What each worker holds in one tier now, in the frame of its limit."""

    def __init__(self, tier: Tier, names: FactorRange) -> None:
        self.tier = tier
        self.source = ColumnDataSource(columns.workers(columns.NOTHING))
        self.x_range = Range1d(start=0, end=1)
        self.root = _bars(f"{style.TIER_TITLES[tier]} by worker", self.x_range, names)
        used, limit = f"{tier}_nbytes", f"{tier}_limit_nbytes"
        bars = self.root.hbar("worker", right=used, height=0.7, source=self.source, color=style.TIER_COLOURS[tier])
        self.root.hbar("worker", right=limit, height=0.7, source=self.source, fill_alpha=0, line_color=style.INK)
        rows = [("worker", "@worker · @address"), ("now", f"@{tier}_now"), ("limit", f"@{tier}_limit")]
        rows += [("peak", f"@{tier}_peak"), ("allocations", f"@{tier}_allocations")]
        rows += [("allocated in all", "@allocated")] if tier == "device" else []
        style.dressed(self.root, HoverTool(tooltips=rows, mode="hline", renderers=[bars]))
        style.byte_axis(self.root.xaxis[0], ticks=3)

    def update(self, view: View) -> None:
        """Draw `view`: always all workers; nothing where the tier does not exist."""
        data = columns.workers(view)
        highest = max((*data[f"{self.tier}_nbytes"], *data[f"{self.tier}_limit_nbytes"]), default=0)
        self.x_range.end = style.HEADROOM * max(highest, 1)
        self.root.height = _height(view)
        self.root.visible = columns.exists(view, self.tier)
        send(self.source, data)


class TaskBars:
    """How many tasks of one kind each worker has now."""

    def __init__(self, title: str, kind: str, names: FactorRange) -> None:
        self.kind = kind
        self.source = ColumnDataSource(columns.workers(columns.NOTHING))
        self.x_range = Range1d(start=0, end=1)
        self.root = _bars(title, self.x_range, names)
        bars = self.root.hbar("worker", right=kind, height=0.7, source=self.source, color=style.INK)
        rows = [("worker", "@worker · @address"), ("tasks", f"@{kind}")]
        style.dressed(self.root, HoverTool(tooltips=rows, mode="hline", renderers=[bars]))
        style.count_axis(self.root.xaxis[0])

    def update(self, view: View) -> None:
        """Draw `view`: always all workers."""
        data = columns.workers(view)
        self.x_range.end = style.HEADROOM * max(*data[self.kind], 4)
        self.root.height = _height(view)
        send(self.source, data)


def _bars(title: str, x_range: Range1d, names: FactorRange) -> figure:
    plot = figure(title=style.title(title), tools="", x_range=x_range, y_range=names, sizing_mode="stretch_width")
    plot.ygrid.visible = False
    return plot


def _height(view: View) -> int:
    return 80 + 26 * max(len(view.workers), 2)
