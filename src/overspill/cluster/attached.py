"""Using a cluster that somebody else started: what its workers have, and leaving them as they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from distributed import Client, Worker
from distributed.comm.addressing import get_address_host

from overspill import backend, machine
from overspill.cluster.plugin import TilePlugin
from overspill.errors import ClusterError
from overspill.planning.resources import Resources
from overspill.units import parse_nbytes

CONNECT_TIMEOUT = "10s"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What one worker says of itself: threads, bytes of its smallest GPU and of its host, and its budgets, if any."""

    threads: int
    gpu_nbytes: int
    available_nbytes: int
    plugin: TilePlugin | None


def worker_state(dask_worker: Worker) -> WorkerState:
    """The state of the worker this runs on."""
    plugin = dask_worker.plugins.get(TilePlugin.name)
    budget = TilePlugin(plugin.pool_nbytes, plugin.device_nbytes) if isinstance(plugin, TilePlugin) else None
    gpu_nbytes = min((gpu.nbytes for gpu in backend.gpus()), default=0)
    return WorkerState(dask_worker.state.nthreads, gpu_nbytes, machine.available_nbytes(), budget)


@contextmanager
def connected(url: str) -> Iterator[tuple[Client, dict[str, WorkerState]]]:
    """A client of the scheduler at `url`, and the states of its workers by address.

    Raises
    ------
    ClusterError
        If nothing answers there, there are no workers, or they cannot import overspill.
    """
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
        client.direct_to_workers = _all_on_this_host(states)
        yield client, states


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


def _all_on_this_host(states: dict[str, WorkerState]) -> bool:
    ours = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    return all(get_address_host(address) in ours for address in states)
