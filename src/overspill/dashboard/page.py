"""The page: what it consists of, how it is laid out, and how a browser that opens it is kept up to date."""

from collections.abc import Callable
from typing import Any, Protocol

from bokeh.core.properties import without_property_validation
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import FactorRange
from bokeh.models.ui import UIElement
from bokeh.models.widgets.inputs import Select
from bokeh.models.widgets.markups import Div
from distributed import Scheduler
from distributed.dashboard.components import add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, env
from distributed.utils import log_errors

from overspill.dashboard import columns, style
from overspill.dashboard.bars import Evictions, TaskBars, TierBars
from overspill.dashboard.columns import View
from overspill.dashboard.history import INTERVAL_S, SAMPLES, recorded
from overspill.dashboard.observed import observed
from overspill.dashboard.over_time import LinksOverTime, TierOverTime
from overspill.memory.store.meter import TIERS

REFRESH_MS = 500

ALL = "all workers"

NO_STORE = """
<b>No worker has a store, so there is nothing to see here.</b> Workers that <code>overspill.cluster()</code> starts have
one, from their first heartbeat on; those of other clusters keep their results in ordinary memory.
"""

TEMPLATE = """
{% extends "simple.html" %}
{% block extra_resources %}
<style>
  .content { height: auto }
  @media (prefers-color-scheme: dark) {
    html { background: #1B1B1B; color: #DDD }
    .navbar ul, .dropdown-content { background-color: #2B2B2B }
    .navbar li a { color: #DDD }
    #dask-logo img { filter: brightness(1.6) }
  }
</style>
{% endblock %}
"""


class Chart(Protocol):
    """What the page is made of."""

    @property
    def root(self) -> UIElement:
        """What the browser shows."""

    def update(self, view: View) -> None:
        """Draw `view`."""


class Page:
    """All charts of one scheduler, in one opened page."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.history = recorded(scheduler)
        self.time_range = style.window()
        self.names = FactorRange()
        self.message = Div(styles={"color": style.INK, "font-size": "14px"})
        self.choice = Select(value="", width=260)
        self.choice.on_change("value", lambda attr, old, new: self.update())
        self.tiers = [TierOverTime(tier, self.time_range) for tier in TIERS]
        self.links = [LinksOverTime("device", self.time_range), LinksOverTime("disk", self.time_range)]
        self.evictions = Evictions()
        self.bars = [TierBars(tier, self.names) for tier in TIERS]
        self.tasks = [
            TaskBars("Tasks processing", "processing", self.names),
            TaskBars("Tasks in memory", "in_memory", self.names),
        ]
        self.charts: list[Chart] = [*self.tiers, *self.links, self.evictions, *self.bars, *self.tasks]
        self.shown = _stretched(
            column,
            _stretched(row, *(chart.root for chart in self.tiers)),
            _stretched(row, *(chart.root for chart in self.links), self.evictions.root),
            _stretched(row, *(chart.root for chart in self.bars), *(chart.root for chart in self.tasks)),
        )
        self.root: UIElement = _stretched(column, row(self.choice, self.message), self.shown)

    @without_property_validation  # type: ignore[untyped-decorator, unused-ignore]  # typed since Bokeh 3.10
    @log_errors
    def update(self) -> None:
        """Show what the scheduler knows now."""
        workers = observed(self.scheduler)
        chosen = self.choice.value if any(worker.id == self.choice.value for worker in workers) else ""
        options: list[Any] = [("", ALL), *((worker.id, f"{worker.name} · {worker.address}") for worker in workers)]
        if options != self.choice.options:  # an open list would close
            self.choice.options = options
        self.choice.value = chosen
        self.shown.visible = self.choice.visible = bool(workers)
        if not workers:
            self.message.text = NO_STORE
            return
        without = len(self.scheduler.workers) - len(workers)
        self.message.text = f"{without} of {len(self.scheduler.workers)} workers have no store" if without else ""
        view = View(self.history, workers, chosen or None)
        ages = columns.ages_s(self.history)
        self.time_range.start = max(-SAMPLES * INTERVAL_S, min(-60.0, ages[0] if ages.size else 0.0))
        self.names.factors = [worker.name for worker in workers][::-1]
        for chart in self.charts:
            chart.update(view)


def _stretched(layout: Callable[..., UIElement], *parts: UIElement) -> UIElement:
    return layout(*parts, sizing_mode="stretch_width")


@log_errors
def overspill_doc(scheduler: Scheduler, extra: dict[str, Any], doc: Document) -> None:
    """Build the page for one browser; called by Bokeh's server."""
    page = Page(scheduler)
    page.update()
    add_periodic_callback(doc, page, REFRESH_MS)
    doc.title = "Dask: Overspill"
    doc.add_root(page.root)
    doc.template = env.from_string(TEMPLATE)
    doc.template_variables.update(extra)
    doc.theme = BOKEH_THEME
