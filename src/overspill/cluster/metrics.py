"""What a worker tells of its store: the figures go into its heartbeats and onto its Prometheus endpoint."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from distributed import Worker
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

METRIC = "overspill"
"""Where the scheduler finds a worker's figures: ``scheduler.workers[address].metrics[METRIC]``."""


def expose(worker: Worker) -> None:
    """Let the scheduler and Prometheus see `worker`'s store; without effect if its data lie in no store."""
    if callable(getattr(worker.data, "figures", None)):
        # Always another dictionary: a heartbeat may be going through this one, and would end the worker.
        worker.metrics = {**worker.metrics, METRIC: _figures}
        _exposed.add(worker)


def withdraw(worker: Worker) -> None:
    """Undo `expose`; without effect if nothing was exposed."""
    worker.metrics = {name: read for name, read in worker.metrics.items() if name != METRIC}
    _exposed.remove(worker)


def families(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """Figures of stores, by their workers' addresses, as Prometheus has them.

    Every sample says which worker it is of, since workers may share a process, and with it an endpoint. A tier without
    a limit has no sample for it: 0 would read as a limit that is always exceeded.
    """
    nbytes = GaugeMetricFamily("overspill_tier_bytes", "Bytes of results in the tier.", labels=["worker", "tier"])
    peak = GaugeMetricFamily("overspill_tier_peak_bytes", "Most bytes the tier has held.", labels=["worker", "tier"])
    limit = GaugeMetricFamily("overspill_tier_limit_bytes", "Bytes the tier may hold.", labels=["worker", "tier"])
    allocations = GaugeMetricFamily(
        "overspill_tier_allocations", "Number of allocations in the tier.", labels=["worker", "tier"]
    )
    allocated = GaugeMetricFamily(
        "overspill_device_allocated_bytes",
        "Bytes taken on the device, temporaries and caches included.",
        labels=["worker"],
    )
    moved = CounterMetricFamily("overspill_link_bytes", "Bytes copied over the link.", labels=["worker", "link"])
    seconds = CounterMetricFamily(
        "overspill_link_seconds", "Seconds for which the link was busy.", labels=["worker", "link"]
    )
    evictions = CounterMetricFamily("overspill_evictions", "Values moved a tier down.", labels=["worker", "cause"])
    for worker, of_worker in figures.items():
        for tier, of_tier in of_worker["tiers"].items():
            nbytes.add_metric([worker, tier], of_tier["nbytes"])
            peak.add_metric([worker, tier], of_tier["peak_nbytes"])
            allocations.add_metric([worker, tier], of_tier["allocations"])
            if of_tier["limit_nbytes"]:
                limit.add_metric([worker, tier], of_tier["limit_nbytes"])
        allocated.add_metric([worker], of_worker["allocated_nbytes"])
        for link, of_link in of_worker["links"].items():
            moved.add_metric([worker, link], of_link["nbytes"])
            seconds.add_metric([worker, link], of_link["seconds"])
        for cause, count in of_worker["evictions"].items():
            evictions.add_metric([worker, cause], count)
    yield from (nbytes, peak, limit, allocations, allocated, moved, seconds, evictions)


class _Exposed(Collector):
    """The workers of this process that have a store; known to Prometheus while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}

    def add(self, worker: Worker) -> None:
        with self._lock:
            if not self._workers:
                REGISTRY.register(self)
            self._workers[worker.id] = worker

    def remove(self, worker: Worker) -> None:
        with self._lock:
            if self._workers.pop(worker.id, None) is not None and not self._workers:
                REGISTRY.unregister(self)

    def describe(self) -> Iterable[Metric]:
        """The names alone, which is all that registering needs."""
        return families({})

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            workers = list(self._workers.values())
        return families({worker.address: _figures(worker) for worker in workers})


def _figures(worker: Worker) -> dict[str, Any]:
    figures: dict[str, Any] = worker.data.figures()  # type: ignore[attr-defined]
    return figures


_exposed = _Exposed()
