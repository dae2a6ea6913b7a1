"""Attaching to workers that somebody else started, in ways that do not let them share tiles."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from cases import environment
from overspill.cluster import cluster
from overspill.cluster.attached import TileScope, WorkerState, check_scopes, tile_scope
from overspill.errors import ClusterError

A, B = TileScope("pid:[1]", 1000), TileScope("pid:[2]", 1000)


def states(**scopes: TileScope) -> dict[str, WorkerState]:
    hosts = {"a": "tcp://10.0.0.1:1", "b": "tcp://10.0.0.1:2", "c": "tcp://10.0.0.2:1"}
    return {hosts[name]: WorkerState(1, 0, 2**30, None, scope) for name, scope in scopes.items()}


def test_workers_of_one_host_that_share_tiles() -> None:
    check_scopes(states(a=A, b=A))


def test_workers_of_different_hosts_need_not() -> None:
    check_scopes(states(a=A, b=A, c=B))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (B, r"different process namespaces \(pid:\[1\] and pid:\[2\]\): start them in one container"),
        (TileScope("pid:[1]", 0), r"different users \(1000 and 0\): start them as one"),
    ],
)
def test_workers_of_one_host_that_cannot(other: TileScope, message: str) -> None:
    with pytest.raises(ClusterError, match=f"tcp://10.0.0.1:1 and tcp://10.0.0.1:2 share a host.*{message}"):
        check_scopes(states(a=A, b=other))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_processes_that_see_another_namespaces_proc_share_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = tile_scope()
    assert ours.uid == os.getuid()
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert tile_scope() != ours


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[LocalCluster]:
    """A worker of Dask's own, and beside it one in a process namespace of its own."""
    if sys.platform != "linux" or subprocess.run(["unshare", "-pf", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a process namespace")
    with ExitStack() as stack:
        foreign = stack.enter_context(
            LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", local_directory=str(tmp_path))
        )
        command = ["unshare", "-pf", "--kill-child", sys.executable, "-m", "distributed.cli.dask_worker"]
        worker = subprocess.Popen(
            [*command, foreign.scheduler_address, "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.enter_context(worker)
        stack.callback(worker.kill)
        with Client(foreign) as client:
            client.wait_for_workers(2, timeout=30)
        yield foreign


def test_a_worker_in_a_container_of_its_own(alone: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="share a host, but cannot share tiles"):
        cluster(alone.scheduler_address)
