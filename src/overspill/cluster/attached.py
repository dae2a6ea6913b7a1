"""Using a cluster that somebody else started: what its workers have, and leaving them as they were."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from distributed import Client, Worker
from distributed.comm.addressing import get_address_host, normalize_address

from overspill import backend, machine
from overspill.cluster import network
from overspill.cluster.placement import ProductPlacement
from overspill.cluster.plugin import TilePlugin
from overspill.errors import ClusterError
from overspill.planning.resources import Resources
from overspill.units import parse_nbytes

CONNECT_TIMEOUT = "10s"


@dataclass(frozen=True, slots=True)
class TileScope:
    """What processes of one host must have in common to open each other's tiles."""

    namespace: str
    uid: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker's threads, bytes of its smallest GPU and of its host, budgets, if any, and whom it shares tiles with."""

    threads: int
    gpu_nbytes: int
    available_nbytes: int
    plugin: TilePlugin | None
    scope: TileScope


def tile_scope() -> TileScope:
    """The scope of this process."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        pid = int(os.readlink("/proc/self"))
    except OSError:
        return TileScope("", os.getuid())  # a system where tiles are ordinary arrays
    if pid != os.getpid():
        namespace += f" without a /proc of its own, process {pid}"
    return TileScope(namespace, os.getuid())


def worker_state(dask_worker: Worker) -> WorkerState:
    """The state of the worker this runs on."""
    plugin = dask_worker.plugins.get(TilePlugin.name)
    budget = TilePlugin(plugin.pool_nbytes, plugin.device_nbytes) if isinstance(plugin, TilePlugin) else None
    # Workers that were set up for CPUs may stand on a machine with GPUs all the same.
    for_cpus = budget is not None and not budget.device_nbytes
    gpu_nbytes = 0 if for_cpus else min((gpu.nbytes for gpu in backend.gpus()), default=0)
    return WorkerState(dask_worker.state.nthreads, gpu_nbytes, machine.available_nbytes(), budget, tile_scope())


@contextmanager
def connected(url: str) -> Iterator[tuple[Client, dict[str, WorkerState]]]:
    """A client of the scheduler at `url`, and the states of its workers by address.

    Raises
    ------
    ClusterError
        If nothing answers there, there are no workers, they cannot import overspill, they or the scheduler are reached
        over UCXX and that is not installed, or some of one host cannot share tiles.
    """
    network.prepare(normalize_address(url))
    try:
        client = Client(url, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {url} ({type(error).__name__}): check the address") from error
    with client:
        try:
            states: dict[str, WorkerState] = client.run(worker_state)
        except ModuleNotFoundError as error:
            raise ClusterError(f"workers of {url} miss {error.name}: install this overspill where they run") from error
        if not states:
            raise ClusterError(f"the scheduler at {url} has no workers: start some with 'dask worker {url}'")
        for address in states:
            network.prepare(address)
        check_scopes(states)
        client.direct_to_workers = _all_in_reach(states)
        yield client, states


def check_scopes(states: dict[str, WorkerState]) -> None:
    """Refuse workers of one host that could not open each other's tiles, and would try for ever.

    Raises
    ------
    ClusterError
        Naming two of them.
    """
    first: dict[str, str] = {}
    for address, state in states.items():
        other = first.setdefault(get_address_host(address), address)
        here, there = state.scope, states[other].scope
        both = f"workers {other} and {address} share a host, but cannot share tiles: they run"
        if here.namespace != there.namespace:
            raise ClusterError(
                f"{both} in different process namespaces ({there.namespace} and {here.namespace}): start them in one "
                f"container, or with the host's namespace, as --pid=host does"
            )
        if here.uid != there.uid:
            raise ClusterError(f"{both} as different users ({there.uid} and {here.uid}): start them as one")


def budgets(
    states: dict[str, WorkerState], gpu: bool | None, memory: str | int | None, device_memory: str | int | None
) -> Resources:
    """What the workers together may use: as given, else as configured, else a default share of what they have."""
    on_gpu = gpu is not False and bool(backend.gpus()) and all(state.gpu_nbytes for state in states.values())
    if gpu and not on_gpu:
        raise ClusterError("gpu=True, but not every worker and this process can use a GPU: leave gpu= out")
    device_nbytes = None
    if on_gpu and device_memory is not None:
        device_nbytes = parse_nbytes(device_memory)
    elif on_gpu:
        device_nbytes = min(_device_nbytes(state) for state in states.values())
    return machine.resources(
        "cuda" if on_gpu else "cpu",
        workers=len(states),
        threads=min(state.threads for state in states.values()),
        pool_nbytes=_pool_nbytes(states) if memory is None else parse_nbytes(memory),
        device_budget_nbytes=device_nbytes,
    )


@contextmanager
def configured(client: Client, states: dict[str, WorkerState], plugin: TilePlugin, *, replace: bool) -> Iterator[None]:
    """Give the workers `plugin` for the length of the block; where all have one, only if told to `replace` it."""
    before = _plugins(states)
    if before and not replace:
        yield
        return
    client.register_plugin(plugin)
    try:
        yield
    finally:
        if client.status == "running":
            if before:
                client.register_plugin(before[0])
            else:
                client.unregister_worker_plugin(plugin.name)


def place_products(client: Client) -> None:
    """Let the scheduler place tiles of products from now on, whoever else is attached to it or leaves it.

    Raises
    ------
    ClusterError
        If it cannot import overspill.
    """
    try:
        client.register_plugin(ProductPlacement())
    except ImportError as error:
        raise ClusterError(
            f"the scheduler misses {error.name}: install this overspill where it runs, as where its workers do"
        ) from error


def _plugins(states: dict[str, WorkerState]) -> list[TilePlugin]:
    """The plugins that the workers have; none unless every worker has one."""
    plugins = [state.plugin for state in states.values() if state.plugin is not None]
    return plugins if len(plugins) == len(states) else []


def _pool_nbytes(states: dict[str, WorkerState]) -> int:
    if plugins := _plugins(states):
        return sum(plugin.pool_nbytes for plugin in plugins)
    hosts = {get_address_host(address): state.available_nbytes for address, state in states.items()}
    return int(machine.HOST_FRACTION * sum(hosts.values()))


def _device_nbytes(state: WorkerState) -> int:
    configured = state.plugin.device_nbytes if state.plugin else 0
    return configured or int(machine.DEVICE_FRACTION * state.gpu_nbytes)


def _all_in_reach(states: dict[str, WorkerState]) -> bool:
    """Whether this process can open the tiles of all workers."""
    ours = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    return all(get_address_host(address) in ours and state.scope == tile_scope() for address, state in states.items())
