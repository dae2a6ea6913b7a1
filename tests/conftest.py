"""What every test may ask for: two workers, proof that nothing is left, and a skip where there is no GPU."""

import gc
import importlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from overspill import backend, memory
from overspill.cluster import Cluster
from two_workers import Program, attached


def pytest_configure() -> None:
    # Whatever was measured of this machine, plans in tests start from the built-in figures.
    os.environ["OVERSPILL_PROFILE"] = ""
    # Shells start what runs in the background deaf to Ctrl-C, nohup to SIGHUP, and children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    available = len(backend.gpus())
    for item in items:
        for marker, needed in (("gpu", 1), ("multi_gpu", 2)):
            if item.get_closest_marker(marker) and available < needed:
                item.add_marker(pytest.mark.skip(reason=f"needs {needed} GPU(s), this machine has {available}"))


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> ModuleType:
    """The array module under test: one body for both."""
    return importlib.import_module(request.param)


@pytest.fixture(scope="session")
def two_processes() -> Iterator[Program]:
    """Two workers for all modules, since starting them takes seconds.

    The scheduler has a process of its own: here it would log, allocate and change the environment beside tests that
    look at such things.
    """
    program = Program()
    yield program
    program.end()


@pytest.fixture(scope="module")
def two_workers(two_processes: Program) -> Iterator[Cluster]:
    """Two workers that no test may kill: the default cluster, from now on, of the module's other tests too."""
    with attached(two_processes) as found:
        yield found


@pytest.fixture
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After the test: no child processes, no shared memory, no directories that were not there before."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = set(child_pids())
    memory.close()
    mapped = shared_mappings()
    yield
    assert set(child_pids()) <= before
    # multiprocessing's own, for its fork server, is removed as this process ends.
    assert [path.name for path in scratch.iterdir() if not path.name.startswith("pymp-")] == []
    gc.collect()
    memory.close()
    assert shared_mappings() <= mapped


def child_pids() -> list[int]:
    """Processes started by this one, but for multiprocessing's tracker and fork server, which end with it."""
    pids = []
    for process in psutil.Process().children(recursive=True):
        try:
            # What the server forks has the same command line.
            own = ("resource_tracker", "forkserver") if process.ppid() == os.getpid() else ("resource_tracker",)
            if not any(name in argument for name in own for argument in process.cmdline()):
                pids.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return pids


def shared_mappings() -> set[str]:
    """Tile memory mapped into this process, by address range."""
    lines = Path("/proc/self/maps").read_text().splitlines() if Path("/proc/self/maps").exists() else []
    return {line.split()[0] for line in lines if "overspill" in line and "memfd:" in line}
