"""Which network carries chunks between GPUs: UCXX among several of them where it is installed, else TCP.

Over UCXX workers talk to each other, and to clients that ask them for values. The scheduler listens on TCP all the
same: messages to it are small, and UCXX takes longer over such.
"""

import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import dask
import numpy as np
from distributed import Client, Security, wait

from overspill import backend
from overspill.cluster.specification import ClassName
from overspill.errors import ClusterError

NEEDED = {"distributed_ucxx": "distributed-ucxx", "ucxx": "ucxx"}
"""Modules without which there is no UCXX, and the packages that bring them."""

NEEDED_BY_GPUS = {**NEEDED, "numba": "numba-cuda"}
"""The same for UCXX that carries CuPy chunks, since Dask's serializer for them imports numba."""

UNCACHED = {"UCX_CUDA_IPC_CACHE": "n"}
"""Environment of UCX in which it lets go of a peer's memory after each copy.

Left to itself it keeps such memory mapped, while we give it back to the device and CUDA leaves open what comes of that:
RMM's pools, which never give anything back, are what its cache is made for.
"""

GPU_TO_GPU = "UCXX: from GPU to GPU"
"""What people are told of the network that needs no way through the host."""

GREETING_NBYTES = 4 * 2**20
"""Enough to be carried as large chunks are, and little beside any budget."""

INTRODUCTION_S = 60.0
"""Seconds after which workers that have not reached each other will not."""

LOOK_S = 0.5
"""Seconds between two looks at whether all of them are there."""

_TRANSPORTS = ("enable_tcp_over_ucx", "enable_infiniband", "enable_nvlink")
_SCHEMES = ("ucx", "ucxx")


def keywords_for(name: ClassName, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """What a cluster of this class must be given besides, to have the network that its `keywords` or Dask ask for.

    Raises
    ------
    ClusterError
        If UCXX is asked for, and is not installed.
    """
    on_gpus = name == "LocalCUDACluster"
    asked, given = _asked(keywords), {}
    if on_gpus and not asked:
        # Dask's clusters do not heed it themselves.
        asked = dask.config.get("distributed.comm.default-scheme")
        given = {"protocol": asked} if asked != "tcp" else {}
        if asked == "tcp" and _gpus(keywords) > 1 and not missing(NEEDED_BY_GPUS):
            asked = "ucx"
    if asked not in _SCHEMES:
        return given
    if absent := missing(NEEDED_BY_GPUS if on_gpus else NEEDED):
        raise ClusterError(
            f"the protocol {asked} needs {absent[0]}, which is not installed: install overspill[gpu], or ask for "
            f"protocol='tcp'"
        )
    scheduler = {"protocol": "tls" if _encrypted(keywords) else "tcp", **(keywords.get("scheduler_kwargs") or {})}
    if not on_gpus:
        return {"protocol": "ucx", "scheduler_kwargs": scheduler}
    env = {variable: value for variable, value in UNCACHED.items() if variable not in os.environ}
    return {"protocol": "ucx", "scheduler_kwargs": scheduler, "env": {**env, **(keywords.get("env") or {})}}


def of_started(address: str, gpus: int) -> str:
    """The network between GPUs of a cluster started here, and why, for people.

    Its workers, and their nannies, have addresses like `address`; the scheduler's tells nothing.

    Examples
    --------
    >>> of_started("ucx://127.0.0.1:34567", 4), of_started("tcp://127.0.0.1:34567", 1)
    ('UCXX: from GPU to GPU', 'TCP: one GPU')
    """
    if (name := _name(address)) == "UCXX":
        return GPU_TO_GPU
    found = by_machine(gpus, missing(NEEDED_BY_GPUS))
    return found if name == "TCP" and found != GPU_TO_GPU else f"{name}: as asked for"


def of_attached(address: str) -> str:
    """The same of a cluster that somebody else started, with a worker at `address`.

    Examples
    --------
    >>> of_attached("ucx://10.0.0.1:34567")
    'UCXX: as its workers were started'
    """
    return f"{_name(address)}: as its workers were started"


def by_machine(gpus: int, absent: Sequence[str]) -> str:
    """The network between so many GPUs of a machine, where packages are `absent`.

    Examples
    --------
    >>> by_machine(4, [])
    'UCXX: from GPU to GPU'
    >>> by_machine(4, ["distributed-ucxx"])
    'TCP: distributed-ucxx is not installed'
    """
    if gpus < 2:
        return "TCP: one GPU"
    return f"TCP: {absent[0]} is not installed" if absent else GPU_TO_GPU


def introduce(client: Client, count: int) -> None:
    """Let all workers, `count` of them, fetch a chunk from each other's GPU, if they talk over UCXX.

    Connections, and a peer's GPU, take UCXX a second to make out, which the first computation would wait for.

    Raises
    ------
    ClusterError
        If they do not reach each other.
    """
    end = time.monotonic() + INTRODUCTION_S
    while all(map(_is_ucxx, workers := list(client.ncores()))):
        if len(workers) == count and _greeted(client, workers, end):
            return
        if time.monotonic() > end:
            raise ClusterError(
                f"{count} workers did not reach each other's GPUs over UCXX in {INTRODUCTION_S:.0f} s: see what UCX "
                f"says with UCX_LOG_LEVEL=info, or pass protocol='tcp'"
            )
        time.sleep(LOOK_S)  # a worker that failed as it started is about to be replaced


def _greeted(client: Client, workers: Sequence[str], end: float) -> bool:
    """Whether each of `workers` has fetched from each, as long as all of them are there, and until `end`."""
    greetings = [client.submit(_on_gpu, GREETING_NBYTES, workers=[worker], pure=False) for worker in workers]
    answers = [client.submit(len, greetings, workers=[worker], pure=False) for worker in workers]
    while set(workers) <= client.ncores().keys() and time.monotonic() < end:
        with suppress(TimeoutError):
            wait(answers, LOOK_S)
            client.gather(answers)
            return True
    return False


def _on_gpu(nbytes: int) -> Any:
    """So many bytes of the current GPU."""
    return np.zeros_like(backend.meta("device", np.dtype("u1"), ndim=1), shape=nbytes)


def missing(needed: Mapping[str, str]) -> list[str]:
    """Packages that bring modules which are not here."""
    return [package for module, package in needed.items() if importlib.util.find_spec(module) is None]


def reaches_devices(address: str) -> bool:
    """Whether what this process, which talks to others already, sends from `address` may lie on a GPU."""
    if not _is_ucxx(address):
        return False
    from overspill.cluster import ucx

    return ucx.carries_device_memory()


def prepare(address: str) -> None:
    """Have tiles travel to and from a worker's `address` as handles, whatever its scheme.

    To be called before anything is sent there.

    Raises
    ------
    ClusterError
        If that needs what is not installed.
    """
    if not _is_ucxx(address):
        return
    try:
        from overspill.cluster import ucx
    except ImportError as error:
        raise ClusterError(
            f"{address} is reached over UCXX, which cannot be imported ({error}): install overspill[gpu]"
        ) from error
    ucx.register()


def _gpus(keywords: Mapping[str, Any]) -> int:
    """How many GPUs a cluster of these keywords will have."""
    if asked := keywords.get("n_workers"):
        return int(asked)
    visible = keywords.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(backend.gpus())
    if isinstance(visible, str):
        visible = visible.split(",")
    return len(visible) if isinstance(visible, Sequence) else 1  # nothing that dask-cuda takes: its words come later


def _is_ucxx(address: str) -> bool:
    return _name(address) == "UCXX"


def _name(address: str) -> str:
    scheme = address.partition("://")[0]
    return "UCXX" if scheme in _SCHEMES else scheme.upper()


def _asked(keywords: Mapping[str, Any]) -> str:
    """The scheme that the user wants; empty where there is no such wish."""
    if protocol := keywords.get("protocol"):
        return str(protocol).partition("://")[0]
    if any(keywords.get(keyword) for keyword in _TRANSPORTS):
        return "ucx"
    if "://" in str(keywords.get("host") or ""):
        return str(keywords["host"]).partition("://")[0]
    return "tls" if _encrypted(keywords) else ""


def _encrypted(keywords: Mapping[str, Any]) -> bool:
    """Whether messages must be encrypted, as the user or Dask's configuration has it."""
    security = keywords.get("security") or Security()
    return bool(getattr(security, "require_encryption", security is True))
