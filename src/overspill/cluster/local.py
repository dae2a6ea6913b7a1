"""Starting workers on this machine, and stopping them for certain."""

import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import dask
import psutil
from dask.utils import parse_timedelta
from distributed import LocalCluster, Nanny, SpecCluster
from distributed.core import Status

from overspill import backend, machine
from overspill.cluster import network
from overspill.cluster.environment import inherited
from overspill.cluster.interrupts import deferred
from overspill.cluster.keywords import check
from overspill.cluster.scratch import scratch
from overspill.cluster.specification import ClassName
from overspill.cluster.worker import SpillingNanny
from overspill.errors import ClusterError
from overspill.memory.store import Store

LARGE_NBYTES = 2 * 2**30
"""A worker that maps more than this, page-locked perhaps, may take longer to end than a nanny waits, 5 s."""

TEARDOWN_S = 120.0
"""Seconds that the system may take to end a worker that was killed."""

GRACE_S = 2.0
"""Seconds that workers get to end by themselves; one in the middle of a long task is killed then."""

LOST_TIMEOUT = "distributed.deploy.lost-worker-timeout"
"""Dask's setting of how long a worker may be away until its nanny is given up, and no other worker takes its place."""

DASHBOARD_PAGE = "overspill.dashboard.preload"
"""What the scheduler loads to serve the page of the stores: named, not imported, since it stands above this floor."""

WITHOUT_GPU = {"distributed.diagnostics.nvml": False}
"""Configuration of workers that compute on cores: each would ask the driver about GPUs as it starts, and ever again."""

_MAPPINGS = ("env", "scheduler_kwargs")

_TEXTS = ("host", "local_directory")


def cluster_class(name: ClassName) -> type[LocalCluster]:
    """The class of this name.

    Raises
    ------
    ClusterError
        If it needs a GPU, and there is none or no dask-cuda.
    """
    if name == "LocalCluster":
        return LocalCluster
    if not backend.gpus():
        raise ClusterError(
            "a GPU cluster was asked for, but no GPU can be used here: install the driver and overspill[gpu], or pass "
            "gpu=False"
        )
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise ClusterError(
            f"a GPU cluster needs dask-cuda, which cannot be imported ({error}): install overspill[gpu], or pass "
            f"gpu=False"
        ) from error
    return LocalCUDACluster  # type: ignore[no-any-return]


@contextmanager
def running(chosen: type[LocalCluster], keywords: Mapping[str, Any]) -> Iterator[LocalCluster]:
    """A cluster of class `chosen` for the length of the block; afterwards no process and no directory is left.

    Raises
    ------
    ClusterError
        If the class does not take a keyword, or does not start.
    """
    check(chosen, keywords)
    parent = keywords.get("local_directory") or dask.config.get("temporary-directory", None)
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(scratch(parent))
        except OSError as error:
            raise ClusterError(
                f"no directory can be made in {parent or tempfile.gettempdir()} ({error.strerror}): pass another "
                f"local_directory="
            ) from None
        # The scheduler, which runs in this process, makes modules there importable.
        stack.callback(_forget_modules_in, directory)
        # Shared pages count in the memory of every process that maps them: Dask's own limit would stop workers
        # for memory that they share. The pool's limit takes its place.
        keywords = {**keywords, "memory_limit": 0, "local_directory": directory}
        keywords |= {"data": Store, "worker_class": SpillingNanny}
        if chosen is LocalCluster:
            keywords["config"] = WITHOUT_GPU
        scheduler: dict[str, Any] = {"local_directory": directory}
        if keywords.get("dashboard_address") is not None:
            configured = dask.config.get("distributed.scheduler.preload")
            scheduler["preload"] = [*([configured] if isinstance(configured, str) else configured), DASHBOARD_PAGE]
        keywords["scheduler_kwargs"] = scheduler | (keywords.get("scheduler_kwargs") or {})
        # Nannies tell of a death as it begins, and start another worker once the system has ended that one.
        patience_s = parse_timedelta(dask.config.get(LOST_TIMEOUT)) + TEARDOWN_S
        stack.enter_context(dask.config.set({LOST_TIMEOUT: patience_s}))
        stack.enter_context(inherited(keywords.get("env") or {}))
        network.prepare(f"{keywords.get('protocol') or ''}://")
        cluster = _start(chosen, keywords)
        stack.callback(_stop, cluster)
        yield cluster


def with_defaults(name: ClassName, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """`keywords`, completed: on CPUs a single-threaded process a core, two threads a GPU, a free dashboard port."""
    _check_kinds(keywords)
    threads = keywords.get("threads_per_worker")
    if threads is None:
        # While one task of a GPU copies its result to the host, the other one computes.
        threads = 2 if name == "LocalCUDACluster" else 1
    workers = keywords.get("n_workers")
    for keyword, value in (("threads_per_worker", threads), ("n_workers", 1 if workers is None else workers)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ClusterError(f"{keyword}={value!r} starts nothing: pass a whole number from 1 up")
    if workers is None and name == "LocalCluster":
        workers = max(1, machine.cpu_count() // threads)
    completed = {"silence_logs": logging.CRITICAL, **keywords, "threads_per_worker": threads, "n_workers": workers}
    if "dashboard_address" not in keywords:
        completed["dashboard_address"] = ":8787" if _port_is_free(keywords.get("host"), 8787) else ":0"
    elif keywords["dashboard_address"] is None:
        # The scheduler serves its metrics all the same, and at a fixed port unless told otherwise.
        completed["scheduler_kwargs"] = {"dashboard_address": ":0", **(keywords.get("scheduler_kwargs") or {})}
    return completed


def _check_kinds(keywords: Mapping[str, Any]) -> None:
    """Refuse values that would fail here, before the cluster class can refuse them."""
    for keyword in _MAPPINGS:
        value = keywords.get(keyword)
        if value is None:
            continue
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise ClusterError(f"{keyword}={value!r} is no mapping of names to values: write it as 'name: value'")
    for keyword in _TEXTS:
        value = keywords.get(keyword)
        if not isinstance(value, str | os.PathLike | None):
            raise ClusterError(f"{keyword}={value!r} is no text: put it in quotes, or leave it out")


def _port_is_free(host: str | None, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host or "127.0.0.1", port))
        except OSError:
            return False
    return True


def _forget_modules_in(directory: str) -> None:
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(directory)]


def _start(chosen: type[LocalCluster], keywords: Mapping[str, Any]) -> LocalCluster:
    before = set(SpecCluster._instances)
    try:
        with deferred():
            return chosen(**keywords)
    except BaseException as error:
        # A class that fails after its base class has started leaves that running, and unreachable but for this list.
        for half_started in set(SpecCluster._instances) - before:
            with suppress(Exception):  # what stopped the start matters more
                _stop(half_started)
        if not isinstance(error, Exception):
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        over_ucxx = "; protocol='tcp' does without UCXX" if str(keywords.get("protocol")).startswith("ucx") else ""
        raise ClusterError(f"{chosen.__name__} did not start: {cause or type(cause).__name__}{over_ucxx}") from error


def _stop(cluster: SpecCluster) -> None:
    _end_large_workers(cluster)
    if cluster.status == Status.closed or cluster.loop is None:
        return
    # On the cluster's own event loop, since no thread may start any more when a program that forgot to close ends.
    cluster.loop.add_callback(cluster.loop.call_later, GRACE_S, _kill_workers, cluster)
    try:
        cluster.close()
    finally:
        _kill_workers(cluster)
        # If closing was cut short, the scheduler removes its directory as the program ends, and complains that it has
        # gone with the cluster's.
        if workdir := getattr(cluster.scheduler, "_workdir", None):
            workdir.release()


def _end_large_workers(cluster: SpecCluster) -> None:
    """End the workers that hold so much memory that taking it back takes the system longer than Dask waits for them."""
    large = []
    for nanny in list(cluster.workers.values()):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(nanny.pid) if getattr(nanny, "pid", None) else None
            if process and process.memory_info().rss > LARGE_NBYTES:
                _replace_no_more(nanny)
                process.kill()
                large.append(process)
    psutil.wait_procs(large, timeout=TEARDOWN_S)


def _kill_workers(cluster: SpecCluster) -> None:
    for nanny in list(cluster.workers.values()):
        if pid := getattr(nanny, "pid", None):
            _replace_no_more(nanny)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _replace_no_more(nanny: Nanny) -> None:
    """Let `nanny` close when its worker ends, not start another one, which would make its directories anew."""
    if nanny.status == Status.running:
        nanny.close_gracefully()
