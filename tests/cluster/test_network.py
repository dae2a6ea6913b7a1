"""Which network is chosen between GPUs, what the cluster class is told of it, and what the plan says."""

import sys
from dataclasses import replace
from typing import Any

import dask
import dask.array as da
import pytest

import overspill as osp
from cases import resources
from overspill import backend, memory
from overspill.cluster import Cluster, network
from overspill.cluster.network import choose, of_address, prepare, reaches_devices
from overspill.errors import ClusterError
from overspill.planning.resources import using

BY_ITSELF = "TCP: UCXX is here, and taken with protocol='ucx'"

COLLECT = dask.config.collect

UNCACHED = {"UCX_CUDA_IPC_CACHE": "n"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a test say how many GPUs there are, and which modules are missing."""

    def like(gpus: int, *absent: str) -> None:
        monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("a GPU", 2**34),) * gpus)
        monkeypatch.setattr(network.importlib.util, "find_spec", lambda module: None if module in absent else module)

    monkeypatch.setattr(dask.config, "collect", dict)
    monkeypatch.delenv("UCX_CUDA_IPC_CACHE", raising=False)
    return like


@pytest.mark.parametrize(
    ("gpus", "absent", "keywords", "said", "protocol"),
    [
        (4, (), {}, BY_ITSELF, None),
        (4, (), {"rmm_pool_size": "8GiB"}, BY_ITSELF, None),
        (4, (), {"n_workers": 2}, BY_ITSELF, None),
        (4, (), {"n_workers": 1}, "TCP: one GPU", None),
        (4, (), {"CUDA_VISIBLE_DEVICES": "0,2"}, BY_ITSELF, None),
        (4, (), {"CUDA_VISIBLE_DEVICES": [3]}, "TCP: one GPU", None),
        (4, (), {"CUDA_VISIBLE_DEVICES": 3}, "TCP: one GPU", None),
        (1, (), {}, "TCP: one GPU", None),
        (4, ("distributed_ucxx",), {}, "TCP: distributed-ucxx is not installed", None),
        (4, ("ucxx",), {}, "TCP: ucxx is not installed", None),
        (4, ("numba",), {}, "TCP: numba-cuda is not installed", None),
        (1, ("distributed_ucxx",), {}, "TCP: one GPU", None),
        (4, (), {"protocol": "tcp"}, "TCP: as asked for", None),
        (4, (), {"protocol": "tls://"}, "TLS: as asked for", None),
        (4, (), {"host": "tcp://127.0.0.1"}, "TCP: as asked for", None),
        (4, (), {"security": True}, "TLS: as asked for", None),
        (1, (), {"protocol": "ucx"}, "UCXX: as asked for", "ucx"),
        (1, (), {"protocol": "ucxx"}, "UCXX: as asked for", "ucx"),
        (1, (), {"enable_nvlink": True}, "UCXX: as asked for", "ucx"),
        (4, (), {"enable_nvlink": False}, BY_ITSELF, None),
    ],
)
def test_what_is_chosen(machine: Any, gpus: int, absent: Any, keywords: Any, said: str, protocol: str | None) -> None:
    machine(gpus, *absent)
    chosen = choose("LocalCUDACluster", keywords)
    assert chosen.said == said
    assert chosen.keywords == ({"protocol": protocol, "env": UNCACHED} if protocol else {})


@pytest.mark.parametrize(("scheme", "said"), [("tcp", "TCP: as asked for"), ("ucx", "UCXX: as asked for")])
def test_the_configuration_counts_where_it_is_a_users(
    machine: Any, monkeypatch: pytest.MonkeyPatch, scheme: str, said: str
) -> None:
    machine(4)
    monkeypatch.setattr(dask.config, "collect", COLLECT)
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME", scheme)
    chosen = choose("LocalCUDACluster", {})
    assert (chosen.said, chosen.keywords["protocol"]) == (said, scheme)
    assert choose("LocalCUDACluster", {"protocol": "tls"}).said == "TLS: as asked for"


@pytest.mark.parametrize("where", ["keyword", "environment"])
def test_ucx_own_settings_of_a_user_stay(machine: Any, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    machine(2)
    if where == "keyword":
        env = {"UCX_CUDA_IPC_CACHE": "y", "OTHER": "1"}
        assert choose("LocalCUDACluster", {"protocol": "ucx", "env": env}).keywords["env"] == env
    else:
        monkeypatch.setenv("UCX_CUDA_IPC_CACHE", "y")
        assert choose("LocalCUDACluster", {"protocol": "ucx", "env": None}).keywords["env"] == {}


def test_without_gpus_nothing_is_chosen(machine: Any) -> None:
    machine(0)
    assert choose("LocalCluster", {}) == network.Network("")
    assert choose("LocalCluster", {"protocol": "ucx"}).keywords == {"protocol": "ucx"}


@pytest.mark.parametrize(("name", "absent"), [("LocalCUDACluster", "numba-cuda"), ("LocalCluster", "distributed-ucxx")])
def test_ucxx_that_is_asked_for_must_be_there(machine: Any, name: Any, absent: str) -> None:
    machine(4, "numba" if absent == "numba-cuda" else "distributed_ucxx")
    with pytest.raises(ClusterError, match=f"the protocol ucx needs {absent}, which is not installed: install"):
        choose(name, {"protocol": "ucx"})


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_address("tcp://10.0.0.1:8786") == "TCP: as its scheduler was started"
    assert not reaches_devices("tcp://ucx:1")
    prepare("tcp://10.0.0.1:8786")
    monkeypatch.delattr(sys.modules["overspill.cluster"], "ucx", raising=False)
    monkeypatch.setitem(sys.modules, "overspill.cluster.ucx", None)
    with pytest.raises(ClusterError, match="ucx://10.0.0.1:1 is reached over UCXX, which cannot be imported"):
        prepare("ucx://10.0.0.1:1")


def test_the_plan_says_which() -> None:
    x = da.ones((100, 100), chunks=50) + 1
    with using(resources(device="cuda")) as given:
        assert "GPU to GPU" not in dict(osp.plan(x).rows())
    with using(replace(given, network="TCP: one GPU")):
        plan = osp.plan(x)
    assert ("GPU to GPU", "TCP: one GPU") in plan.rows()
    assert plan.to_dict()["network"] == "TCP: one GPU"


def test_workers_whose_network_reaches_devices_send_values_as_they_lie(two_workers: Cluster) -> None:
    client = two_workers.client
    here, there = client.ncores()

    def reach() -> None:
        network._test_before = network.reaches_devices
        network.reaches_devices = lambda address: True

    def mend() -> None:
        network.reaches_devices = network.__dict__.pop("_test_before")

    def tile() -> Any:
        x = memory.empty((2**20,), "u1")
        x[...] = 1
        return x

    def seen(x: Any) -> tuple[bool, int]:
        return memory.is_tile(x), int(x.sum())

    client.run(reach)
    try:
        x = client.submit(tile, workers=[here], pure=False)
        assert client.submit(seen, x, workers=[there], pure=False).result(timeout=30) == (True, 2**20)
        assert seen(x.result(timeout=30)) == (True, 2**20)
    finally:
        client.run(mend)


def test_a_cluster_of_cores_has_no_such_network() -> None:
    with osp.cluster(gpu=False, n_workers=1, memory="64MiB", dashboard_address=None) as started:
        assert started.resources.network == ""
