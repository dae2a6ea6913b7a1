"""Which network carries chunks between GPUs: TCP, through host tiles, or, where it is asked for, UCXX."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dask

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

_TRANSPORTS = ("enable_tcp_over_ucx", "enable_infiniband", "enable_nvlink")
_SCHEMES = ("ucx", "ucxx")


@dataclass(frozen=True, slots=True)
class Network:
    """What was chosen.

    Attributes
    ----------
    said
        Its name, and why where that is not obvious, for people.
    keywords
        What the cluster class must be given for it.
    """

    said: str
    keywords: Mapping[str, Any] = field(default_factory=dict)


def choose(name: ClassName, keywords: Mapping[str, Any]) -> Network:
    """The network for a cluster of this class: as its `keywords` or Dask's configuration say, else by this machine.

    Raises
    ------
    ClusterError
        If UCXX is asked for, and is not installed.
    """
    on_gpus = name == "LocalCUDACluster"
    asked, given = _asked(keywords), {}
    if on_gpus and not asked:
        # Dask's own default cannot be told from a user's "tcp" but by where it is written; its clusters heed neither.
        asked = dask.config.get("distributed.comm.default-scheme", "", config=dask.config.collect())
        given = {"protocol": asked}
    absent = missing(NEEDED_BY_GPUS if on_gpus else NEEDED)
    if asked in _SCHEMES:
        if absent:
            raise ClusterError(
                f"the protocol {asked} needs {absent[0]}, which is not installed: install overspill[gpu], or ask for "
                f"protocol='tcp'"
            )
        return Network("UCXX: as asked for", _for_ucxx(keywords)) if on_gpus else Network("", {"protocol": "ucx"})
    if not on_gpus:
        return Network("")
    if asked:
        return Network(f"{asked.upper()}: as asked for", given)
    return Network(by_machine(_gpus(keywords), absent))


def by_machine(gpus: int, absent: Sequence[str]) -> str:
    """The network between so many GPUs of a machine, where packages are `absent`.

    Examples
    --------
    >>> by_machine(4, [])
    "TCP: UCXX is here, and taken with protocol='ucx'"
    >>> by_machine(4, ["distributed-ucxx"])
    'TCP: distributed-ucxx is not installed'
    """
    if gpus < 2:
        return "TCP: one GPU"
    return f"TCP: {absent[0]} is not installed" if absent else "TCP: UCXX is here, and taken with protocol='ucx'"


def of_address(url: str) -> str:
    """The network of a cluster that somebody else started.

    Examples
    --------
    >>> of_address("ucx://10.0.0.1:8786"), of_address("10.0.0.1:8786")
    ('UCXX: as its scheduler was started', 'TCP: as its scheduler was started')
    """
    scheme, separator, _ = url.partition("://")
    name = "UCXX" if scheme in _SCHEMES else scheme.upper() if separator else "TCP"
    return f"{name}: as its scheduler was started"


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
    """Have tiles travel to and from `address` as handles, whatever its network; before anything is sent there.

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


def _is_ucxx(address: str) -> bool:
    return address.partition("://")[0] in _SCHEMES


def _asked(keywords: Mapping[str, Any]) -> str:
    """The scheme that the user wants; empty where there is no such wish."""
    if protocol := keywords.get("protocol"):
        return str(protocol).partition("://")[0]
    if any(keywords.get(keyword) for keyword in _TRANSPORTS):
        return "ucx"
    if "://" in str(keywords.get("host") or ""):
        return str(keywords["host"]).partition("://")[0]
    return "tls" if keywords.get("security") else ""


def _for_ucxx(keywords: Mapping[str, Any]) -> dict[str, Any]:
    env = {variable: value for variable, value in UNCACHED.items() if variable not in os.environ}
    return {"protocol": "ucx", "env": {**env, **(keywords.get("env") or {})}}


def _gpus(keywords: Mapping[str, Any]) -> int:
    """How many GPUs a cluster with these keywords uses."""
    visible = keywords.get("CUDA_VISIBLE_DEVICES")
    if isinstance(visible, str):
        visible = visible.split(",")
    count = len(visible) if isinstance(visible, Sequence) else len(backend.gpus()) if visible is None else 1
    return min(count, keywords.get("n_workers") or count)
