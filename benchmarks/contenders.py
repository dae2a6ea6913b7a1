"""Clusters that benchmarks compare, by name: this library's, those a user would start instead, and one without a store.

Stock clusters keep their own defaults, but for the limits, which are those of this library's cluster beside them.
"""

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Client, LocalCluster

import overspill as osp
from overspill import backend

CPU_WORKERS = 2

QUIET = {"silence_logs": logging.CRITICAL, "dashboard_address": ":0"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a cluster runs, and what it may take.

    Attributes
    ----------
    device
        ``"cuda"``, a worker on every GPU that this process sees, or ``"cpu"``, where host memory is the upper tier.
    nbytes
        Bytes of results that one worker keeps in its upper tier.
    host_nbytes
        Bytes that all workers together may take in host memory; on CPUs `nbytes` counts instead.
    """

    device: str
    nbytes: int
    host_nbytes: int

    @property
    def workers(self) -> int:
        """Number of workers: one a GPU, or on CPUs always the same."""
        return len(backend.gpus()) if self.device == "cuda" else CPU_WORKERS


def visible(gpus: int) -> str:
    """The first `gpus` of those GPUs that this process may see, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
    return ",".join(named.split(",")[:gpus])


@contextmanager
def overspill(limits: Limits, **keywords: Any) -> Iterator[Client]:
    """This library's cluster."""
    if limits.device == "cuda":
        given: dict[str, Any] = {"gpu": True, "memory": limits.host_nbytes, "device_memory": limits.nbytes}
    else:
        memory = limits.nbytes * limits.workers
        given = {"gpu": False, "n_workers": limits.workers, "threads_per_worker": 1, "memory": memory}
    with osp.cluster(dashboard_address=None, **given, **keywords) as cluster:
        yield cluster.client


@contextmanager
def stock(limits: Limits, protocol: str = "tcp", **keywords: Any) -> Iterator[Client]:
    """dask-cuda's cluster, or on CPUs Dask's, as they come."""
    if limits.device == "cuda":
        from dask_cuda import LocalCUDACluster

        with (
            LocalCUDACluster(
                device_memory_limit=limits.nbytes,
                memory_limit=limits.host_nbytes // limits.workers,
                protocol=protocol,
                **QUIET,
                **keywords,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
    else:
        # Limits as small as a test's lie below what an idle process takes: only the results' own size may count.
        only_results = {f"distributed.worker.memory.{reason}": False for reason in ("spill", "pause", "terminate")}
        share = dask.config.get("distributed.worker.memory.target")
        with (
            dask.config.set(only_results),
            LocalCluster(
                n_workers=limits.workers, threads_per_worker=1, memory_limit=int(limits.nbytes / share), **QUIET
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


@contextmanager
def stock_with_rmm(limits: Limits, protocol: str = "tcp") -> Iterator[Client]:
    """dask-cuda's cluster with RMM's pool under CuPy, of the share of free memory that results get by default."""
    from cupy.cuda import runtime

    free_nbytes, _ = runtime.memGetInfo()  # of the first GPU, where this process takes some too
    pool = {"rmm_pool_size": int(0.8 * free_nbytes) // 256 * 256, "rmm_allocator_external_lib_list": ["cupy"]}
    with stock(limits, protocol, **pool) as client:
        yield client


@contextmanager
def stock_with_ucxx(limits: Limits) -> Iterator[Client]:
    """The same with chunks that go from GPU to GPU by UCXX."""
    for needed in ("rmm", "distributed_ucxx"):
        importlib.import_module(needed)  # dask-cuda's own words would not say what to install
    with stock_with_rmm(limits, "ucxx") as client:
        yield client


@contextmanager
def without_store(limits: Limits) -> Iterator[Client]:
    """Workers like this library's, but with a dictionary for their results."""
    if limits.device == "cuda":
        from dask_cuda import LocalCUDACluster

        started = LocalCUDACluster(threads_per_worker=2, memory_limit=0, data=dict, **QUIET)
    else:
        started = LocalCluster(n_workers=limits.workers, threads_per_worker=1, memory_limit=0, data=dict, **QUIET)
    with started as cluster, Client(cluster, direct_to_workers=True) as client:
        yield client


STOCK: dict[str, Callable[[Limits], AbstractContextManager[Client]]] = {
    "stock": stock,
    "stock, RMM pool": stock_with_rmm,
}

CONTENDERS = {"overspill": overspill, **STOCK}


def available(device: str) -> list[str]:
    """The contenders that can run here, this library's first."""
    with_rmm = device == "cuda" and importlib.util.find_spec("rmm") is not None
    return [name for name in CONTENDERS if with_rmm or name != "stock, RMM pool"]
