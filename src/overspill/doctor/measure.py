"""Measuring: clusters of this library are started, and each probe runs on one of their workers, then on all at once."""

import importlib
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import dask
import numpy as np
from distributed import Client, wait
from distributed.utils import get_mp_context

import overspill.memory as tiles
from overspill import backend, machine
from overspill.cluster import Cluster, cluster, worker
from overspill.doctor import bench
from overspill.doctor.figures import Figure, Side
from overspill.doctor.probe import Effort, Probe
from overspill.errors import ClusterError
from overspill.memory import link
from overspill.memory.tile import SMALLEST_NBYTES

MEMORY_FRACTION = 0.25
"""Share of the host's available memory, and of a GPU's, that measuring may take."""

LEAD_S = 0.02
"""Time for workers to hear of a measurement, and more for each of them: they begin it together."""

LEAD_OF_WORKER_S = 0.001

TASKS = "tasks of one thread"

FORKED = {"distributed.worker.multiprocessing-method": "forkserver"}
"""Configuration of workers that are forked from a process which has done nothing yet."""

LONGEST_SOCKET_FOLDER = 70
"""Characters of the directory for temporary files that leave room for the name of a socket in it: it may have 107."""

TASKS_LIMIT_S = 20
"""Tasks of a worker that has ended would be waited for forever."""

Watch = Callable[[str], object]
"""Told what is done next."""


def figures(side: Side, effort: Effort, watch: Watch) -> Generator[Figure]:
    """Figures of this machine's cores, or of its GPUs, one after the other as they are measured.

    Raises
    ------
    ClusterError
        If workers cannot start.
    """
    watch("starting a worker for each GPU" if side == "cuda" else "starting a worker for each core")
    host_nbytes = int(MEMORY_FRACTION * machine.available_nbytes())
    device_nbytes = int(MEMORY_FRACTION * min((gpu.nbytes for gpu in backend.gpus()), default=0))
    with (
        nullcontext() if side == "cuda" else _loaded_once(),
        cluster(gpu=side == "cuda", memory=host_nbytes, dashboard_address=None) as started,
    ):
        workers = started.resources.workers
        here = effort.within(host_nbytes // workers, device_nbytes, workers)
        for probe in probes(side):
            watch(f"measuring {probe.name}")
            yield run(started.client, side, probe, here)
        watch(f"measuring {TASKS}")
        yield tasks(started, side, here)


@contextmanager
def _loaded_once() -> Iterator[None]:
    """Let workers be forked from a process that has loaded what they run: 64 take 14 s if each does that by itself.

    It is the fork server of this program, which should not have started one for other purposes: that one's environment
    would be the workers', too.
    """
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_SOCKET_FOLDER:
        yield
        return
    with dask.config.set(FORKED):
        get_mp_context().set_forkserver_preload([worker.__name__])
        yield


def probes(side: Side) -> Sequence[Probe]:
    """What is measured on a side."""
    module = importlib.import_module(f"overspill.doctor.probes_{'cuda' if side == 'cuda' else 'host'}")
    found: Sequence[Probe] = module.PROBES
    return found


def run(client: Client, side: Side, probe: Probe, effort: Effort) -> Figure:
    """The figure of `probe`; if it fails, one that says why."""
    window_s = effort.device_window_s if side == "cuda" else effort.window_s
    try:
        workers = addresses(client)
        several = len(workers) > 1  # and then plans take what all of them do
        with ExitStack() as stack:
            stack.callback(client.run, bench.release)
            alone = _measured(client, workers[:1], probe, effort, window_s / 2 if several else window_s)
            each = _measured(client, workers, probe, effort, window_s) if several else alone
        if not all((*alone, *each)):
            return Figure(side, probe.name, probe.unit, failure="there is too little free memory for it")
        return Figure(side, probe.name, probe.unit, alone[0], tuple(each))
    except Exception as error:  # of whatever kind: the other figures can still be had
        return Figure(side, probe.name, probe.unit, failure=one_line(error))


def addresses(client: Client) -> list[str]:
    """Addresses of the workers, in the order of their names: of GPUs, as CUDA counts them.

    Raises
    ------
    ClusterError
        If none is left.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise ClusterError("no worker is left to measure on: see what ended them")
    return sorted(workers, key=lambda address: int(workers[address]["name"]))


def _measured(client: Client, workers: list[str], probe: Probe, effort: Effort, window_s: float) -> list[float]:
    """What each of `workers` does in a second, all of them at once."""
    client.run(bench.prepare, probe, effort, workers=workers)
    start = time.monotonic() + LEAD_S + LEAD_OF_WORKER_S * len(workers)
    found = client.run(bench.measure, start, window_s, workers=workers)
    return [found[address] for address in workers]


def tasks(started: Cluster, side: Side, effort: Effort) -> Figure:
    """How many tasks that do next to nothing one thread of a worker gets done in a second."""
    client, threads = started.client, started.resources.threads
    task = _cross if side == "cuda" else _make
    try:
        worker = addresses(client)[0]
        for count in (effort.tasks // 10 + 1, effort.tasks):  # the first ones set up what the others use
            begun = time.perf_counter()
            done, _ = wait(client.map(task, range(count), pure=False, workers=[worker]), timeout=TASKS_LIMIT_S)
            seconds = time.perf_counter() - begun
            if failed := [future for future in done if future.status == "error"]:
                failed[0].result()
    except TimeoutError:
        return Figure(side, TASKS, "tasks", failure=f"they were not done within {TASKS_LIMIT_S} s")
    except Exception as error:
        return Figure(side, TASKS, "tasks", failure=one_line(error))
    per_s = effort.tasks / seconds / threads
    return Figure(side, TASKS, "tasks", per_s, (per_s,))


def one_line(error: BaseException) -> str:
    """What went wrong, without line breaks."""
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__


def _make(_: int) -> Any:
    """The smallest result that is a tile."""
    x = tiles.empty((SMALLEST_NBYTES,), np.uint8)
    x[0] = 1
    return x


def _cross(_: int) -> Any:
    """The smallest tile to the GPU, a kernel, and back."""
    return link.download(link.upload(_make(0)) + np.uint8(1))
