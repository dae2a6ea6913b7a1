"""What a scheduler knows of its workers' stores now: the figures of their last heartbeats, and their tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distributed import Scheduler

from overspill.cluster.metrics import METRIC


@dataclass(frozen=True, slots=True)
class Observed:
    """A worker that has a store.

    Attributes
    ----------
    id
        The worker's own, which none that takes its place or its address has.
    name, address
        As everywhere on the dashboard; a name that is the address without its protocol.
    seen_s
        When its last heartbeat came, by the scheduler's clock.
    figures
        What its store said then.
    processing, in_memory
        Numbers of tasks.
    """

    id: str
    name: str
    address: str
    seen_s: float
    figures: Mapping[str, Any]
    processing: int
    in_memory: int


def observed(scheduler: Scheduler) -> list[Observed]:
    """The workers of `scheduler` that have a store, by name."""
    found = [
        Observed(
            id=worker.server_id,
            name=str(worker.name).rpartition("://")[2],
            address=worker.address,
            seen_s=worker.last_seen,
            figures=worker.metrics[METRIC],
            processing=len(worker.processing),
            in_memory=len(worker.has_what),
        )
        for worker in scheduler.workers.values()
        if METRIC in worker.metrics
    ]
    return sorted(found, key=lambda worker: (len(worker.name), worker.name))
