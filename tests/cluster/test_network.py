"""Which network is chosen between GPUs, what the cluster class is told of it, and what the plan says."""

import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import pytest
from distributed import Client, Security, Worker

import overspill as osp
from cases import resources
from overspill import backend, memory
from overspill.backend import GPU
from overspill.cluster import Cluster, cluster, network
from overspill.cluster.network import keywords_for, of_attached, of_started, prepare, reaches_devices
from overspill.errors import ClusterError
from overspill.planning.resources import using

UCX: dict[str, Any] = {
    "protocol": "ucx",
    "scheduler_kwargs": {"protocol": "tcp"},
    "env": {"UCX_CUDA_IPC_CACHE": "n"},
}


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a test say which modules are missing; all others are there."""

    def these(*absent: str) -> None:
        monkeypatch.setattr(network.importlib.util, "find_spec", lambda module: None if module in absent else module)

    monkeypatch.delenv("UCX_CUDA_IPC_CACHE", raising=False)
    these()
    return these


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "gpus", lambda: (GPU("NVIDIA H200", 2**37),) * 4)


@pytest.mark.usefixtures("without", "four_gpus")
@pytest.mark.parametrize(
    ("configured", "keywords", "given"),
    [
        ("tcp", {}, UCX),
        ("tcp", {"rmm_pool_size": "8GiB"}, UCX),
        ("tcp", {"n_workers": 1}, {}),
        ("tcp", {"n_workers": 2}, UCX),
        ("tcp", {"CUDA_VISIBLE_DEVICES": "1"}, {}),
        ("tcp", {"CUDA_VISIBLE_DEVICES": 2}, {}),
        ("tcp", {"CUDA_VISIBLE_DEVICES": [0, 3]}, UCX),
        ("tcp", {"security": True}, {}),
        ("tcp", {"protocol": "tcp"}, {}),
        ("tcp", {"enable_nvlink": False}, UCX),
        ("tcp", {"protocol": "ucx"}, UCX),
        ("tcp", {"protocol": "ucx://"}, UCX),
        ("tcp", {"protocol": "ucxx"}, UCX),
        ("tcp", {"enable_nvlink": True}, UCX),
        ("tcp", {"host": "ucx://127.0.0.1"}, UCX),
        ("ucx", {}, UCX),
        ("tls", {}, {"protocol": "tls"}),
        ("ucx", {"protocol": "tcp"}, {}),
        ("ucx", {"host": "tcp://127.0.0.1"}, {}),
        ("ucx", {"security": True}, {}),
        ("tcp", {"protocol": "ucx", "security": True}, UCX | {"scheduler_kwargs": {"protocol": "tls"}}),
    ],
)
def test_what_a_cluster_of_gpus_is_given(configured: str, keywords: Any, given: Any) -> None:
    with dask.config.set({"distributed.comm.default-scheme": configured}):
        assert keywords_for("LocalCUDACluster", keywords) == given


@pytest.mark.usefixtures("without", "four_gpus")
def test_encryption_that_is_configured_counts_as_asked_for() -> None:
    with dask.config.set({"distributed.comm.require-encryption": True}):
        assert keywords_for("LocalCUDACluster", {}) == {}
        assert keywords_for("LocalCUDACluster", {"protocol": "ucx"})["scheduler_kwargs"] == {"protocol": "tls"}
        assert keywords_for("LocalCUDACluster", {"security": Security(require_encryption=False)}) == UCX


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("name", ["LocalCluster", "LocalCUDACluster"])
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, {"protocol": "tcp"}),
        ({"dashboard_address": ":0"}, {"protocol": "tcp", "dashboard_address": ":0"}),
        ({"protocol": "ucx", "port": 8786}, {"protocol": "ucx", "port": 8786}),
    ],
)
def test_the_scheduler_keeps_to_tcp_unless_told_otherwise(name: Any, asked: Any, given: Any) -> None:
    assert keywords_for(name, {"protocol": "ucx", "scheduler_kwargs": asked})["scheduler_kwargs"] == given


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize("absent", ["distributed_ucxx", "ucxx", "numba"])
def test_what_is_not_installed_is_not_chosen(without: Any, absent: str) -> None:
    without(absent)
    assert keywords_for("LocalCUDACluster", {}) == {}


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("where", ["keyword", "environment"])
def test_ucx_own_settings_of_a_user_stay(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    if where == "keyword":
        env = {"UCX_CUDA_IPC_CACHE": "y", "OTHER": "1"}
        assert keywords_for("LocalCUDACluster", {"protocol": "ucx", "env": env})["env"] == env
    else:
        monkeypatch.setenv("UCX_CUDA_IPC_CACHE", "y")
        assert keywords_for("LocalCUDACluster", {"protocol": "ucx", "env": None})["env"] == {}


@pytest.mark.usefixtures("without")
def test_a_cluster_of_cores_heeds_keywords_alone() -> None:
    with dask.config.set({"distributed.comm.default-scheme": "ucx"}):
        assert keywords_for("LocalCluster", {}) == {}
    given = keywords_for("LocalCluster", {"protocol": "ucx"})
    assert given == {"protocol": "ucx", "scheduler_kwargs": {"protocol": "tcp"}}


@pytest.mark.parametrize(("name", "absent"), [("LocalCUDACluster", "numba-cuda"), ("LocalCluster", "distributed-ucxx")])
def test_ucxx_that_is_asked_for_must_be_there(without: Any, name: Any, absent: str) -> None:
    without("numba" if absent == "numba-cuda" else "distributed_ucxx")
    with pytest.raises(ClusterError, match=f"the protocol ucx needs {absent}, which is not installed: install"):
        keywords_for(name, {"protocol": "ucx"})


@pytest.mark.parametrize(
    ("scheme", "gpus", "absent", "said"),
    [
        ("tcp", 4, [], "TCP: as asked for"),
        ("tcp", 1, [], "TCP: one GPU"),
        ("tcp", 1, ["distributed_ucxx"], "TCP: one GPU"),
        ("tcp", 4, ["distributed_ucxx"], "TCP: distributed-ucxx is not installed"),
        ("tcp", 4, ["ucxx"], "TCP: ucxx is not installed"),
        ("tcp", 4, ["numba"], "TCP: numba-cuda is not installed"),
        ("tls", 4, [], "TLS: as asked for"),
        ("ucx", 4, [], "UCXX: from GPU to GPU"),
    ],
)
def test_what_is_said_of_it(without: Any, scheme: str, gpus: int, absent: list[str], said: str) -> None:
    without(*absent)
    assert of_started(f"{scheme}://127.0.0.1:8786", gpus) == said


def test_addresses() -> None:
    assert of_attached("tcp://10.0.0.1:8786") == "TCP: as its workers were started"
    assert not reaches_devices("tcp://ucx:1")
    prepare("tcp://10.0.0.1:8786")


@pytest.fixture
def without_ucxx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["overspill.cluster"], "ucx", raising=False)
    monkeypatch.setitem(sys.modules, "overspill.cluster.ucx", None)


@pytest.mark.usefixtures("without_ucxx")
def test_a_scheduler_that_only_ucxx_reaches() -> None:
    with pytest.raises(ClusterError, match="ucx://10.0.0.1:1 is reached over UCXX, which cannot be imported"):
        prepare("ucx://10.0.0.1:1")
    with (
        dask.config.set({"distributed.comm.default-scheme": "ucx"}),
        pytest.raises(ClusterError, match="ucx://10.0.0.1:1 is reached over UCXX"),
    ):
        osp.cluster("10.0.0.1:1")


@pytest.mark.usefixtures("without_ucxx")
def test_workers_that_only_ucxx_reaches(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Client.run

    def moved(client: Client, function: Any) -> Any:
        return {address.replace("tcp", "ucx"): found for address, found in run(client, function).items()}

    monkeypatch.setattr(Client, "run", moved)
    with pytest.raises(ClusterError, match=r"ucx://127.0.0.1:\d+ is reached over UCXX, which cannot be imported"):
        osp.cluster(two_workers.client.scheduler.address)


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


def test_workers_on_ucxx_are_introduced_to_each_other(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def received(dask_worker: Worker) -> int:
        return int(dask_worker.state.transfer_incoming_count_total)

    client = two_workers.client
    before = client.run(received)
    network.introduce(client, 2)
    assert client.run(received) == before
    monkeypatch.setattr(network, "_is_ucxx", lambda address: True)
    monkeypatch.setattr(network, "_on_gpu", bytes)
    network.introduce(client, 2)
    after = client.run(received)
    assert all(after[worker] > before[worker] for worker in after)


@pytest.mark.parametrize("gone", [False, True], ids=["while it is greeted", "before"])
def test_a_worker_that_fails_as_it_starts_is_waited_for(
    gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(n_workers=2, gpu=False, dashboard_address=None) as started:
        monkeypatch.setattr(network, "_is_ucxx", lambda address: True)
        monkeypatch.setattr(network, "_on_gpu", bytes if gone else partial(_failing_once, tmp_path))
        before = started.client.run(os.getpid)
        if gone:
            os.kill(next(iter(before.values())), signal.SIGKILL)
            while len(started.client.ncores()) == 2:
                time.sleep(0.01)
        network.introduce(started.client, 2)
        received = started.client.run(lambda dask_worker: dask_worker.state.transfer_incoming_count_total)
    assert len(received) == len(before) == 2 and received.keys() != before.keys()
    assert all(received.values())


def _failing_once(folder: Path, nbytes: int) -> bytes:
    try:
        (folder / "failed").touch(exist_ok=False)
    except FileExistsError:
        return bytes(nbytes)
    os._exit(1)


def test_workers_that_do_not_reach_each_other_are_not_waited_for(
    two_workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_is_ucxx", lambda address: True)
    monkeypatch.setattr(network, "_on_gpu", bytes)
    monkeypatch.setattr(network, "INTRODUCTION_S", 0.0)
    with pytest.raises(
        ClusterError, match="2 workers did not reach each other's GPUs over UCXX in 0 s: .*protocol='tcp'"
    ):
        network.introduce(two_workers.client, 2)


def test_a_cluster_of_cores_has_no_such_network() -> None:
    with osp.cluster(gpu=False, n_workers=1, memory="64MiB", dashboard_address=None) as started:
        assert started.resources.network == ""
