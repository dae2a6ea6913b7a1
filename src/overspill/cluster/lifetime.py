"""`osp.cluster`: from what is asked for to a running cluster, and back to nothing."""

import atexit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import dask
from distributed import Client
from tornado.ioloop import PeriodicCallback

from overspill import memory as tiles
from overspill.cluster import attached, copies, local, network
from overspill.cluster.budgets import budgets
from overspill.cluster.placement import ProductPlacement
from overspill.cluster.plugin import PURGE_INTERVAL_S, TilePlugin
from overspill.cluster.specification import Address, Config, Specification, specify
from overspill.errors import ClusterError
from overspill.memory.descriptors import raise_descriptor_limit
from overspill.planning.resources import Resources, using

CLIENT_INTERVAL_S = 0.001
"""Between two messages to the scheduler: after Dask's own 10 ms, what follows a result let go of would start late."""


class Cluster:
    """A running cluster that plans are drawn for and computations run on, until it is closed.

    Attributes
    ----------
    client
        The Dask client, also the default one.
    resources
        What plans may use: workers, budgets in bytes and rates.
    dashboard_link
        Address of Dask's dashboard; empty where that is turned off.

    Examples
    --------
    >>> import overspill as osp
    >>> with osp.cluster(n_workers=1, gpu=False, memory="64MiB", dashboard_address=None) as cluster:
    ...     cluster.resources.pool_nbytes, cluster.client.submit(sum, [1, 2]).result()
    (67108864, 3)
    """

    def __init__(self, client: Client, resources: Resources, dashboard_link: str, opened: ExitStack) -> None:
        self.client = client
        self.resources = resources
        self.dashboard_link = dashboard_link
        self._opened = opened
        atexit.register(opened.close)

    def close(self) -> None:
        """End what was started: workers, memory, directories; an attached cluster loses only this client."""
        atexit.unregister(self._opened.close)
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        workers, threads = self.resources.workers, self.resources.threads
        return f"<overspill.Cluster: {self.resources.device}, {workers} workers × {threads} threads>"


def cluster(
    config: Config = None,
    *,
    gpu: bool | None = None,
    memory: str | int | None = None,
    device_memory: str | int | None = None,
    **keywords: Any,
) -> Cluster:
    """A cluster on this machine: a worker a GPU where there are GPUs, else a single-threaded one a core.

    Parameters
    ----------
    config
        A YAML file or a mapping whose one top-level key, ``LocalCluster`` or ``LocalCUDACluster``, holds that class's
        own keywords; or the address of a running scheduler, which closing leaves running.
    gpu
        Whether to use the GPUs; by default, if there are any.
    memory
        Bytes of results and tiles that all workers together may hold in host memory, as ``"48MiB"`` or a number; what
        goes past it is spilled to disk, to the class's ``local_directory``. The class's own ``memory_limit`` does the
        same for one worker. By default half of the memory that is free.
    device_memory
        Bytes of a GPU that streams, results and what tasks make on their way may take there; results past it are
        spilled to host memory. The same as the class's own ``device_memory_limit``. By default 8/10 of the smallest.
    **keywords
        Keywords of the cluster class; they override those in `config`.

    Returns
    -------
    Cluster
        A context manager; leaving its block closes it.

    Raises
    ------
    ClusterError
        If a keyword is unknown, a GPU is asked for where there is none, or the cluster does not start.
    UsageError
        If `config` is a file that does not exist, or a size cannot be read.

    Examples
    --------
    >>> import overspill as osp
    >>> with osp.cluster(n_workers=1, gpu=False, dashboard_address=None) as cluster:
    ...     len(cluster.client.ncores())
    1
    """
    given_twice = {"memory": memory, "device_memory": device_memory}
    for name, value in given_twice.items():
        if value is not None and f"{name}_limit" in keywords:
            raise ClusterError(f"{name}= and {name}_limit= limit the same memory: pass one of them")
    asked = specify(config, gpu, keywords)
    raise_descriptor_limit()
    with ExitStack() as stack:
        stack.callback(tiles.purge)
        if isinstance(asked, Address):
            client, resources = stack.enter_context(_attach(asked, gpu, memory, device_memory))
            shown = True
        else:
            client, resources = stack.enter_context(_start(asked, memory, device_memory))
            shown = asked.keywords.get("dashboard_address", ":") is not None
        stack.enter_context(_purging(client))
        stack.enter_context(dask.config.set({"array.backend": "cupy" if resources.device == "cuda" else "numpy"}))
        stack.enter_context(using(resources))
        return Cluster(client, resources, str(client.dashboard_link or "") if shown else "", stack.pop_all())


@contextmanager
def _start(
    asked: Specification, memory: str | int | None, device_memory: str | int | None
) -> Iterator[tuple[Client, Resources]]:
    chosen = local.cluster_class(asked.class_name)
    keywords = local.with_defaults(asked.class_name, asked.keywords)
    keywords |= network.keywords_for(asked.class_name, keywords)
    on_gpu = asked.class_name == "LocalCUDACluster"
    if on_gpu and device_memory is not None:
        keywords["device_memory_limit"] = device_memory
    # Sizes that cannot be read must fail before anything starts.
    budgets("cuda" if on_gpu else "cpu", 1, 1, keywords, memory=memory, device_memory=device_memory)
    with local.running(chosen, keywords) as started:
        resources = budgets(
            "cuda" if on_gpu else "cpu",
            len(started.worker_spec),
            keywords["threads_per_worker"],
            keywords,
            memory=memory,
            device_memory=device_memory,
        )
        if on_gpu:
            nanny = next(iter(started.workers.values()))
            resources = replace(resources, network=network.of_started(nanny.address, resources.workers))
        # Results come from the workers themselves, as handles: the scheduler would ask for their bytes.
        with Client(started, direct_to_workers=True) as client:
            client.scheduler_comm.interval = CLIENT_INTERVAL_S
            client.register_plugin(_plugin(resources))
            if on_gpu:
                client.register_plugin(ProductPlacement())
                network.introduce(client, resources.workers)
                copies.keep(client, resources.device_nbytes)
            yield client, resources


@contextmanager
def _attach(
    asked: Address, gpu: bool | None, memory: str | int | None, device_memory: str | int | None
) -> Iterator[tuple[Client, Resources]]:
    with attached.connected(asked.url) as (client, states):
        resources = attached.budgets(states, gpu, memory, device_memory)
        if resources.device == "cuda":
            resources = replace(resources, network=network.of_attached(next(iter(states))))
            attached.place_products(client)
        with attached.configured(client, states, _plugin(resources), replace=memory is not None):
            yield client, resources


def _plugin(resources: Resources) -> TilePlugin:
    return TilePlugin(resources.pool_nbytes // resources.workers, resources.device_nbytes)


@contextmanager
def _purging(client: Client) -> Iterator[None]:
    """Let go of dead workers' memory in this process too, for as long as `client` runs."""
    callback, loop = PeriodicCallback(tiles.purge, PURGE_INTERVAL_S * 1000), client.loop
    assert loop is not None
    loop.add_callback(callback.start)
    try:
        yield
    finally:
        loop.add_callback(callback.stop)
