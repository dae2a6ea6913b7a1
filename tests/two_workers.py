"""Two CPU workers of one thread: the program that prints their scheduler's address and ends when its input does."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import LocalCluster, Worker

from overspill.cluster import Cluster, cluster, local


def main() -> None:
    asked = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with local.running(LocalCluster, local.with_defaults("LocalCluster", asked)) as started:
        print(started.scheduler_address, flush=True)
        sys.stdin.read()


@contextmanager
def attached(address: str) -> Iterator[Cluster]:
    """The workers, for the length of the block; new ones if tasks that nobody waits for any more hold their threads."""
    with cluster(address, memory="256MiB") as found:
        if any(found.client.run(tasks_at_work).values()):
            found.client.restart()
        yield found


def tasks_at_work(dask_worker: Worker) -> int:
    """How many tasks hold a thread of the worker, wanted still or not."""
    return len(dask_worker.state.executing) + len(dask_worker.state.long_running)


if __name__ == "__main__":
    main()
