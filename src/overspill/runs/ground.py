"""What a run stands on: a running cluster, or for a dry run the resources that the cluster would have."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin

from overspill import backend
from overspill.cluster import Cluster, cluster
from overspill.cluster.budgets import budgets
from overspill.cluster.keywords import check
from overspill.cluster.local import cluster_class, with_defaults
from overspill.cluster.specification import Address, specify
from overspill.errors import UsageError
from overspill.planning.resources import Resources, using


class Uninterrupted(WorkerPlugin):
    """Lets a worker ignore Ctrl-C, which a terminal sends to the whole family: the client is told, and ends the worker.

    A worker that replaces a dead one gets the plugin too.
    """

    name = "overspill-uninterrupted"

    def setup(self, worker: Worker) -> None:
        """Called in the worker's main thread."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def located(config: str | None) -> str | None:
    """`config` with the path in it, if it is one, made absolute."""
    return str(Path(config).resolve()) if config is not None and Path(config).is_file() else config


def started(config: str | None, memory: str | int | None, device_memory: int | None = None) -> Cluster:
    """The cluster that `config` asks for (None: this machine's default one), its tiles limited to `memory`."""
    running = cluster(config, memory=memory, device_memory=device_memory)
    if running.client.cluster is not None:
        running.client.register_plugin(Uninterrupted())
    return running


@contextmanager
def imagined(config: str | None, memory: str | int | None) -> Iterator[Resources]:
    """Let plans assume the cluster that `started` would start, without starting anything.

    Raises
    ------
    UsageError
        If `config` is an address: nothing is known of that cluster without asking it.
    ClusterError
        If `config` cannot be started as it is.
    """
    asked = specify(config, None, {})
    if isinstance(asked, Address):
        raise UsageError(f"a dry run does not ask the cluster at {asked.url}: leave --cluster out, or name a file")
    check(cluster_class(asked.class_name), asked.keywords)
    keywords = with_defaults(asked.class_name, asked.keywords)
    on_gpu = asked.class_name == "LocalCUDACluster"
    workers = len(backend.gpus()) if on_gpu else keywords["n_workers"]
    threads = keywords["threads_per_worker"]
    found = budgets("cuda" if on_gpu else "cpu", workers, threads, keywords, memory=memory, device_memory=None)
    with using(found):
        yield found
