"""From figures and history to what charts draw: columns, in bytes, seconds and counts; no Bokeh."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.dashboard.history import History, Series
from overspill.dashboard.observed import Observed
from overspill.memory.ledger import LINKS
from overspill.memory.store.meter import CAUSES, TIERS, Tier
from overspill.units import format_nbytes, format_rate, format_seconds

Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What a page shows.

    Attributes
    ----------
    history
        The samples.
    workers
        Those that have a store now.
    chosen
        The id of the worker that sums are limited to; None for all.
    """

    history: History
    workers: Sequence[Observed]
    chosen: str | None = None

    def summed(self) -> list[Observed]:
        """The workers that sums are over."""
        return [worker for worker in self.workers if self.chosen in (None, worker.id)]

    def series(self) -> dict[str, Series]:
        """Their samples, and, if none is chosen, those of workers that have gone."""
        known = self.history.series
        order = [worker.id for worker in self.workers if worker.id in known]
        order += [id_ for id_ in known if id_ not in order]
        return {id_: known[id_] for id_ in order if self.chosen in (None, id_)}


NOTHING = View(History(), ())
"""The view before any worker was seen: what columns look like."""


def tier_nbytes(view: View, tier: Tier) -> tuple[int, int]:
    """Bytes in `tier` now, and its limit, 0 if it has none."""
    of_tier = [worker.figures["tiers"][tier] for worker in view.summed()]
    return sum(each["nbytes"] for each in of_tier), sum(each["limit_nbytes"] for each in of_tier)


def exists(view: View, tier: Tier) -> bool:
    """Whether any worker has `tier`: those on CPUs have none on a device."""
    stores = [worker.figures["tiers"][tier] for worker in view.workers]
    return tier != "device" or any(store["limit_nbytes"] or store["peak_nbytes"] for store in stores)


def ages_s(history: History) -> NDArray[np.float64]:
    """Seconds since each sample, negative, the latest 0; only of samples that were taken."""
    taken: NDArray[np.float64] = history.times_s[~np.isnan(history.times_s)]
    return taken - taken[-1] if taken.size else taken


def bands(view: View, tier: Tier) -> Columns:
    """One polygon a worker, stacked: what it held in `tier`."""
    ages = ages_s(view.history)
    columns: Columns = {name: [] for name in ("xs", "ys", "worker", "now", "limit", "peak", "alpha")}
    lives = {worker.id: worker for worker in view.workers}
    below = np.zeros(ages.size)
    for number, (id_, series) in enumerate(view.series().items()):
        held = _latest(series.nbytes[tier], ages.size).copy()
        # Heartbeats come between samples too.
        held[-1] = lives[id_].figures["tiers"][tier]["nbytes"] if id_ in lives else 0
        above = below + held
        columns["xs"].append(np.concatenate((ages, ages[::-1])))
        columns["ys"].append(np.concatenate((above, below[::-1])))
        columns["alpha"].append((0.9, 0.6)[number % 2])
        if id_ in lives:
            of_tier = lives[id_].figures["tiers"][tier]
            columns["worker"].append(f"{series.name} · {lives[id_].address}")
            columns["now"].append(format_nbytes(of_tier["nbytes"]))
            columns["limit"].append(format_limit(of_tier["limit_nbytes"]))
            columns["peak"].append(format_nbytes(of_tier["peak_nbytes"]))
        else:
            columns["worker"].append(f"{series.name} · gone")
            for name in ("now", "limit", "peak"):
                columns[name].append("–")
        below = above
    return columns


def limits(view: View, tier: Tier) -> Columns:
    """The limit of `tier` over time, the sum of the workers' that were there; NaN where there was none."""
    ages = ages_s(view.history)
    total = np.zeros(ages.size)
    for series in view.series().values():
        total += _latest(series.limit_nbytes[tier], ages.size)
    return {"age_s": ages, "limit_nbytes": np.where(total > 0, total, np.nan)}


def throughput(view: View) -> Columns:
    """Bytes per second over each link, over time."""
    ages = ages_s(view.history)
    columns: Columns = {"age_s": ages}
    for link in LINKS:
        total = np.zeros(ages.size)
        for series in view.series().values():
            total += _latest(series.bytes_per_s[link], ages.size)
        columns[link] = total
        columns[f"{link}_text"] = [format_rate(float(per_s), "B/s") for per_s in total]
    return columns


def link_totals(view: View) -> Columns:
    """What went over each link since the workers started, how long it was busy, and how fast it was then."""
    columns: Columns = {name: [] for name in ("link", "nbytes", "seconds", "text")}
    for link in LINKS:
        of_link = [worker.figures["links"][link] for worker in view.summed()]
        nbytes, seconds = sum(each["nbytes"] for each in of_link), sum(each["seconds"] for each in of_link)
        columns["link"].append(link)
        columns["nbytes"].append(nbytes)
        columns["seconds"].append(seconds)
        speed = format_rate(nbytes / seconds, "B/s") if seconds else "–"
        columns["text"].append((format_nbytes(nbytes), format_seconds(seconds), speed))
    return columns


def evictions(view: View) -> Columns:
    """Values that left a tier since the workers started, by cause."""
    counts = [sum(worker.figures["evictions"][cause] for worker in view.summed()) for cause in CAUSES]
    return {"cause": [cause.replace("_", " ") for cause in CAUSES], "count": counts, "text": [f"{n:,}" for n in counts]}


def workers(view: View) -> Columns:
    """One row a worker: bytes and limits of its tiers, and its tasks, now."""
    columns: Columns = {
        "worker": [worker.name for worker in view.workers],
        "address": [worker.address for worker in view.workers],
        "allocated": [format_nbytes(worker.figures["allocated_nbytes"]) for worker in view.workers],
        "processing": [worker.processing for worker in view.workers],
        "in_memory": [worker.in_memory for worker in view.workers],
    }
    for tier in TIERS:
        of_tier = [worker.figures["tiers"][tier] for worker in view.workers]
        columns[f"{tier}_nbytes"] = [each["nbytes"] for each in of_tier]
        columns[f"{tier}_limit_nbytes"] = [each["limit_nbytes"] for each in of_tier]
        columns[f"{tier}_allocations"] = [each["allocations"] for each in of_tier]
        columns[f"{tier}_now"] = [format_nbytes(each["nbytes"]) for each in of_tier]
        columns[f"{tier}_limit"] = [format_limit(each["limit_nbytes"]) for each in of_tier]
        columns[f"{tier}_peak"] = [format_nbytes(each["peak_nbytes"]) for each in of_tier]
    return columns


def _latest(samples: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return samples[samples.size - count :]  # not [-count:], which for none would be all


def format_limit(limit_nbytes: int) -> str:
    """A limit in words."""
    return format_nbytes(limit_nbytes) if limit_nbytes else "none"
