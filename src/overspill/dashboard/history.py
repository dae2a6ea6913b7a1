"""What stores held and moved in the last minutes: kept by the scheduler, so that a page opened late shows it too."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import Scheduler
from distributed.metrics import time
from numpy.typing import NDArray
from tornado.ioloop import PeriodicCallback

from overspill.dashboard.observed import Observed, observed
from overspill.memory.ledger import LINKS, Link
from overspill.memory.store.meter import TIERS, Tier

INTERVAL_S = 1.0
"""Between two samples; workers send heartbeats every half second while there are ten of them or fewer."""

SAMPLES = 300
"""Five minutes, and 24 kB a worker."""

_EXTENSION = "overspill-history"


@dataclass(frozen=True, slots=True)
class Series:
    """One worker's samples, the latest last; 0 where the worker was not there.

    Attributes
    ----------
    name
        The worker's.
    nbytes, limit_nbytes
        Bytes in each tier, and its limit.
    bytes_per_s
        Throughput of each link between heartbeats.
    """

    name: str
    nbytes: dict[Tier, NDArray[np.float64]]
    limit_nbytes: dict[Tier, NDArray[np.float64]]
    bytes_per_s: dict[Link, NDArray[np.float64]]

    def arrays(self) -> Iterable[NDArray[np.float64]]:
        """All of them."""
        return (*self.nbytes.values(), *self.limit_nbytes.values(), *self.bytes_per_s.values())


class History:
    """A rolling window of samples.

    Attributes
    ----------
    times_s
        When samples were taken, the latest last; NaN before the first.
    series
        Samples by worker; those of a worker that has gone stay until they have left the window.
    """

    def __init__(self) -> None:
        self.times_s = np.full(SAMPLES, np.nan)
        self.series: dict[str, Series] = {}
        self._before: dict[str, tuple[float, dict[Link, int]]] = {}

    def record(self, now_s: float, workers: Iterable[Observed]) -> None:
        """Take a sample of `workers`."""
        _append(self.times_s, now_s)
        for series in self.series.values():
            for values in series.arrays():
                _append(values, 0)
        before, self._before = self._before, {}
        for worker in workers:
            series = self.series.setdefault(worker.id, _empty(worker.name))
            for tier in TIERS:
                series.nbytes[tier][-1] = worker.figures["tiers"][tier]["nbytes"]
                series.limit_nbytes[tier][-1] = worker.figures["tiers"][tier]["limit_nbytes"]
            moved = {link: worker.figures["links"][link]["nbytes"] for link in LINKS}
            seen_s, moved_before = self._before[worker.id] = before.get(worker.id, (worker.seen_s, moved))
            if worker.seen_s > seen_s:
                self._before[worker.id] = (worker.seen_s, moved)
            for link, values in series.bytes_per_s.items():
                if worker.seen_s > seen_s:
                    values[-1] = (moved[link] - moved_before[link]) / (worker.seen_s - seen_s)
                else:  # no heartbeat since the last sample
                    values[-1] = values[-2]
        self.series = {
            id_: series for id_, series in self.series.items() if _holds_anything(series, id_ in self._before)
        }


def recorded(scheduler: Scheduler) -> History:
    """The history of `scheduler`'s workers, kept from the first call on."""
    history = scheduler.extensions.get(_EXTENSION)
    if not isinstance(history, History):
        history = scheduler.extensions[_EXTENSION] = History()
        taking: Any = PeriodicCallback(lambda: history.record(time(), observed(scheduler)), INTERVAL_S * 1000)
        # The scheduler ends it with its own.
        scheduler.periodic_callbacks[_EXTENSION] = taking
        taking.start()
    return history


def _append(values: NDArray[np.float64], value: float) -> None:
    values[:-1] = values[1:]
    values[-1] = value


def _empty(name: str) -> Series:
    return Series(
        name=name,
        nbytes={tier: np.zeros(SAMPLES) for tier in TIERS},
        limit_nbytes={tier: np.zeros(SAMPLES) for tier in TIERS},
        bytes_per_s={link: np.zeros(SAMPLES) for link in LINKS},
    )


def _holds_anything(series: Series, lives: bool) -> bool:
    return lives or any(values.any() for values in series.arrays())
