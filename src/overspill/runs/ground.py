"""What a run stands on: a running cluster, or for a dry run the resources that the cluster would have."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed.utils import silence_logging_cmgr

from overspill import backend
from overspill.cluster import Cluster, cluster
from overspill.cluster.budgets import budgets
from overspill.cluster.keywords import check
from overspill.cluster.local import cluster_class, with_defaults
from overspill.cluster.specification import Address, Specification, specify
from overspill.errors import ClusterError, UsageError
from overspill.planning.resources import Resources, using


def located(config: str | None) -> str | None:
    """`config` with the path in it, if it is one, made absolute."""
    return str(Path(config).resolve()) if config is not None and Path(config).is_file() else config


@contextmanager
def started(config: str | None, memory: str | int | None, device_memory: int | None = None) -> Iterator[Cluster]:
    """The cluster that `config` asks for (None: this machine's default one), its tiles limited to `memory`."""
    _specified(config)
    # What a lost scheduler means for the run is told in one sentence; distributed would log a page about it.
    with silence_logging_cmgr(logging.CRITICAL), cluster(config, memory=memory, device_memory=device_memory) as running:
        yield running


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
    asked = _specified(config)
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


def _specified(config: str | None) -> Specification | Address:
    """What `config` asks for; refused where it asks for GPUs and there are none, in the words of the command line."""
    asked = specify(config, None, {})
    if isinstance(asked, Specification) and asked.class_name == "LocalCUDACluster" and not backend.gpus():
        raise ClusterError(
            f"--cluster {config} asks for GPUs, but no GPU can be used here, nor its memory be planned for: "
            "leave --cluster out to use the CPU, or install the driver and overspill[gpu]"
        )
    return asked
