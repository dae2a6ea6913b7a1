import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import LocalCluster, Worker, default_client, wait
from distributed.core import Status

from overspill import backend, memory
from overspill.cluster import Cluster, attached, cluster, local
from overspill.cluster.worker import SpillingNanny
from overspill.errors import ClusterError, UsageError
from overspill.memory import tile
from overspill.planning.resources import active
from overspill.units import parse_nbytes
from two_workers import Program

CLUSTER_FILES = Path(__file__).parents[2] / "cluster"
MIB = 2**20


def started(config: Any = None, **keywords: Any) -> Cluster:
    return cluster(config, gpu=False, **{"n_workers": 1, "dashboard_address": None} | keywords)


def pool_limit(dask_worker: Worker) -> tuple[int, str]:
    return tile.pool().limit_nbytes, tile.pool().directory


def blocks_interrupts(dask_worker: Worker) -> bool:
    """Asked in the worker's main thread."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.usefixtures("nothing_left")
class TestLife:
    def test_start_and_close(self) -> None:
        environment, path = dict(os.environ), list(sys.path)
        with dask.config.set({"array.backend": "cupy"}):
            opened = started(memory="10MiB")
            assert opened.dashboard_link == ""
            assert opened.client.submit(sum, [1, 2]).result() == 3
            assert dask.config.get("array.backend") == "numpy"
            assert isinstance(da.ones(3).compute(), np.ndarray)
            before = time.monotonic()
            opened.close()
            assert time.monotonic() - before < 5
            opened.close()
            assert dask.config.get("array.backend") == "cupy"
        assert active() is None
        assert dict(os.environ) == environment
        assert sys.path == path
        with pytest.raises(ValueError, match="No client"):
            default_client()

    def test_nested(self) -> None:
        with started(memory="10MiB", dashboard_address=":0") as outer:
            assert outer.dashboard_link.startswith("http://127.0.0.1:")
            with started(memory="20MiB") as inner:
                assert default_client() is inner.client
                assert active() is inner.resources
            assert active() is outer.resources
            assert default_client() is outer.client
            assert da.ones(10).sum().compute() == 10

    def test_closing_that_is_cut_short(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        def interrupted(_: object) -> None:
            raise KeyboardInterrupt

        opened = started(silence_logs=False)
        running = opened.client.cluster
        monkeypatch.setattr(LocalCluster, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened.close()
        monkeypatch.undo()
        # Nobody starts workers again, in directories that are gone.
        until(lambda: all(nanny.status == Status.closed for nanny in running.workers.values()))
        # What is left undone then happens as the program ends.
        running.scheduler._workdir.release()
        assert [record.getMessage() for record in caplog.records if "Failed to remove" in record.getMessage()] == []
        running.close()

    def test_large_workers_are_not_replaced_as_they_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = started()
        begun: list[SpillingNanny] = []
        nannies, wait_for_all = list(opened.client.cluster.workers.values()), psutil.wait_procs

        def and_until_nannies_know(processes: Any, timeout: float) -> None:
            wait_for_all(processes, timeout)
            until(lambda: bool(begun) or all(nanny.status == Status.closed for nanny in nannies))

        monkeypatch.setattr(psutil, "wait_procs", and_until_nannies_know)
        monkeypatch.setattr(local, "LARGE_NBYTES", 0)
        monkeypatch.setattr(SpillingNanny, "instantiate", lambda nanny: begun.append(nanny))
        opened.close()
        assert begun == []

    def test_busy_workers_do_not_delay_the_end(self) -> None:
        opened = started()
        futures = opened.client.map(time.sleep, [60, 61])
        until(lambda: any(opened.client.processing().values()))
        before = time.monotonic()
        opened.close()
        assert time.monotonic() - before < 5
        assert [future.status for future in futures] == ["cancelled"] * 2

    def test_killed_worker_of_the_cpu_file_is_replaced_and_forgotten(self) -> None:
        def make() -> Any:
            made = memory.empty((1 << 20,), "u1")
            made[:] = 1
            return made

        nbytes = parse_nbytes("2GiB")
        with cluster(CLUSTER_FILES / "cpu.yaml", dashboard_address=None) as opened:
            assert (opened.resources.workers, opened.resources.pool_nbytes) == (2, 2 * nbytes)
            pids = opened.client.run(os.getpid)
            held = opened.client.submit(make, workers=next(iter(pids)))
            wait(held)
            result = held.result()
            os.kill(next(iter(pids.values())), signal.SIGKILL)
            # One address is new, the other one is still there.
            until(lambda: len(set(pids) ^ set(opened.client.ncores())) == 2)
            assert [limit for limit, _ in opened.client.run(pool_limit).values()] == [nbytes] * 2
            assert list(opened.client.run(blocks_interrupts).values()) == [True] * 2
            assert result.sum() == 1 << 20
            del result, held

    def test_a_worker_that_takes_long_to_end_is_replaced(self) -> None:
        timeout = "distributed.deploy.lost-worker-timeout"
        with dask.config.set({timeout: "100ms"}):
            with started() as opened:
                ((address, pid),) = opened.client.run(os.getpid).items()
                os.kill(pid, signal.SIGKILL)
                until(lambda: bool(set(opened.client.ncores()) - {address}))
                assert len(opened.client.cluster.workers) == 1
            assert dask.config.get(timeout) == "100ms"

    def test_directories_lie_where_asked_until_an_interrupt(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), started(local_directory=str(tmp_path)) as opened:
            ((_, directory),) = opened.client.run(pool_limit).values()
            assert Path(directory).is_relative_to(tmp_path)
            assert Path(directory).is_dir()
            raise KeyboardInterrupt
        assert [path.name for path in tmp_path.iterdir()] == ["scratch"]


@pytest.mark.usefixtures("nothing_left")
class TestRefusals:
    @pytest.mark.parametrize(
        ("keywords", "message"),
        [
            ({"n_worker": 2}, "takes no keyword 'n_worker': did you mean 'n_workers'"),
            ({"jit_unspill": True}, "takes no keyword 'jit_unspill'"),
            ({"n_workers": 0}, "n_workers=0 starts nothing"),
            ({"threads_per_worker": "2"}, "threads_per_worker='2' starts nothing"),
            ({"memory": "1GB", "memory_limit": "1GB"}, "memory= and memory_limit="),
            ({"memory_limit": "much"}, "memory_limit='much' is not a size"),
            ({"local_directory": "/nonexistent"}, "no directory can be made in /nonexistent"),
            ({"local_directory": 3}, "local_directory=3 is no text"),
            ({"host": [1]}, r"host=\[1\] is no text"),
            ({"env": 3}, "env=3 is no mapping"),
            ({"env": {1: 2}}, "env={1: 2} is no mapping of names"),
            ({"scheduler_kwargs": 3}, "scheduler_kwargs=3 is no mapping"),
        ],
    )
    def test_keywords(self, keywords: dict[str, Any], message: str) -> None:
        with pytest.raises(ClusterError, match=message):
            cluster(gpu=False, **keywords)

    def test_memory_that_is_no_size(self) -> None:
        with pytest.raises(UsageError, match="'much'"):
            started(memory="much")

    @pytest.mark.skipif(bool(backend.gpus()), reason="needs a machine without a GPU")
    @pytest.mark.parametrize("config", [None, CLUSTER_FILES / "gpu.yaml", CLUSTER_FILES / "gpu-tight.yaml"])
    def test_gpus_where_there_are_none(self, config: Path | None) -> None:
        with pytest.raises(ClusterError, match="no GPU can be used here: install"):
            cluster(config, gpu=True)

    def test_gpus_without_dask_cuda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("NVIDIA H200", 2**37),))
        monkeypatch.setitem(sys.modules, "dask_cuda", None)
        with pytest.raises(ClusterError, match="needs dask-cuda.*install"):
            cluster()

    def test_workers_that_do_not_start(self, tmp_path: Path) -> None:
        preload = tmp_path / "broken.py"
        preload.write_text("raise RuntimeError('broken preload')")
        with pytest.raises(ClusterError, match="LocalCluster did not start: broken preload"):
            started(n_workers=2, preload=str(preload))
        assert active() is None

    # Distributed itself leaves a socket open when its scheduler cannot listen.
    @pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
    def test_scheduler_port_that_is_taken(self, two_processes: Program) -> None:
        port = int(two_processes.address.rpartition(":")[2])
        with pytest.raises(ClusterError, match="did not start: .*in use"):
            started(scheduler_port=port)

    def test_address_where_nothing_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(attached, "CONNECT_TIMEOUT", "200ms")
        with pytest.raises(ClusterError, match="no Dask scheduler answers at tcp://127.0.0.1:1 "):
            cluster("tcp://127.0.0.1:1")


class TestForeign:
    """Clusters that Dask alone started."""

    def test_attached_workers_lose_what_was_given(self, tmp_path: Path) -> None:
        with LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", local_directory=str(tmp_path)
        ) as foreign:
            with cluster(foreign.scheduler_address, memory="10MiB") as borrowed:
                assert [limit for limit, _ in borrowed.client.run(pool_limit).values()] == [10 * MIB]
            assert foreign.workers[0].status.name == "running"

    def test_scheduler_without_workers(self, tmp_path: Path) -> None:
        with (
            LocalCluster(n_workers=0, dashboard_address=":0", local_directory=str(tmp_path)) as empty,
            pytest.raises(ClusterError, match="has no workers: start some with 'dask worker"),
        ):
            cluster(empty.scheduler_address)


PROGRAM = """
import sys
from overspill.cluster import cluster
if __name__ == "__main__":
    opened = cluster(gpu=False, n_workers=1, dashboard_address=None)
    print("\\n".join(map(str, opened.client.run(__import__("os").getpid).values())), flush=True)
    {end}
"""


def program(directory: Path, text: str) -> tuple[subprocess.Popen[str], Path]:
    """A program in a session of its own, as a terminal starts it, and where it keeps its temporary files."""
    path, scratch = directory / "program.py", directory / "scratch"
    path.write_text(text)
    scratch.mkdir()
    running = subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(scratch)},
    )
    return running, scratch


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 0),
        pytest.param("raise SystemExit(3)", 3, marks=pytest.mark.slow),
        ("import time; time.sleep(60)", -signal.SIGINT),
    ],
)
def test_program_that_forgets_to_close(tmp_path: Path, end: str, status: int) -> None:
    """Also one that gets Ctrl-C, which a terminal sends to the workers at the same time."""
    running, scratch = program(tmp_path, PROGRAM.format(end=end))
    assert running.stdout is not None
    worker = int(running.stdout.readline())
    if status == -signal.SIGINT:
        os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == status, errors
    assert not Path(f"/proc/{worker}").exists()
    assert list(scratch.iterdir()) == []
    if status != -signal.SIGINT:
        assert errors == ""


STARTING = """
from overspill.cluster import cluster
if __name__ == "__main__":
    with cluster(gpu=False, n_workers=2, dashboard_address=None):
        print("started", flush=True)
        import time; time.sleep(60)
"""


def test_interrupt_while_workers_start(tmp_path: Path) -> None:
    running, scratch = program(tmp_path, STARTING)
    process = psutil.Process(running.pid)
    until(lambda: any("spawn_main" in str(child.cmdline()) for child in process.children()))
    before = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    printed, errors = running.communicate(timeout=30)
    assert time.monotonic() - before < 20  # the program would take 60, and workers start slowly beside other tests
    assert running.returncode == -signal.SIGINT
    assert printed == ""
    assert errors.count("Traceback") == 1
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert list(scratch.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.usefixtures("nothing_left")
class TestGPU:
    @pytest.fixture(autouse=True)
    def needs_dask_cuda(self) -> None:
        pytest.importorskip("dask_cuda")

    def test_default_is_a_worker_a_gpu(self) -> None:
        with cluster(dashboard_address=None) as opened:
            assert opened.resources.device == "cuda"
            assert opened.resources.workers == len(backend.gpus())
            assert list(opened.client.ncores().values()) == [2] * len(backend.gpus())
            assert dask.config.get("array.backend") == "cupy"
            assert opened.client.run(lambda: len(backend.gpus())) is not None

    @pytest.mark.parametrize("name", ["gpu.yaml", "gpu-tight.yaml"])
    def test_deployment_files(self, name: str) -> None:
        with cluster(CLUSTER_FILES / name, n_workers=1, memory="1GiB", dashboard_address=None) as opened:
            assert opened.client.submit(lambda: backend.gpus()[0].nbytes).result() > 0
            if name == "gpu-tight.yaml":
                assert opened.resources.device_nbytes == parse_nbytes("4GiB")
            assert da.ones((1000, 1000), chunks=300).sum().compute() == 1_000_000

    def test_device_memory(self) -> None:
        with cluster(n_workers=1, device_memory="2GiB", dashboard_address=None) as opened:
            assert opened.resources.device_nbytes == parse_nbytes("2GiB")
