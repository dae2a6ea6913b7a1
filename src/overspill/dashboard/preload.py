"""What gives a scheduler its page ``/overspill``: ``dask scheduler --preload overspill.dashboard.preload``.

A scheduler imports its preload modules before it starts its dashboard, and calls `dask_setup` once that runs.
"""

from bokeh.server.tornado import BokehTornado
from distributed import Scheduler
from distributed.dashboard.scheduler import applications, template_variables

from overspill.dashboard.history import recorded
from overspill.dashboard.page import overspill_doc

NAME = "overspill"


def register() -> None:
    """Add the page to those of every scheduler whose dashboard starts from now on in this process."""
    applications[f"/{NAME}"] = overspill_doc


def dask_setup(scheduler: Scheduler) -> None:
    """Keep the history of `scheduler`'s workers, and link the page in the navigation, if there is a dashboard."""
    if not any(isinstance(served, BokehTornado) for served in scheduler.http_application.applications):
        return
    recorded(scheduler)
    # Pages were given this very list when the dashboard started.
    pages = template_variables(scheduler)["pages"]
    if NAME not in pages:
        pages.insert(pages.index("workers") + 1, NAME)


register()
