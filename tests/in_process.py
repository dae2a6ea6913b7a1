"""Workers in the test's own process, for tests that look at what a scheduler decides."""

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster


@contextmanager
def in_process(n_workers: int, threads_per_worker: int) -> Iterator[Client]:
    """A client of so many workers, with no dashboard and no limit of memory."""
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads_per_worker,
            processes=False,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": ":0"},
            memory_limit=0,
        ) as started,
        Client(started) as client,
    ):
        yield client
