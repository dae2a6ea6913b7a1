"""Each probe for real, on little data: it gives a rate, stays within its memory, and leaves nothing behind."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest

from doctor.machines import SMALL
from overspill import memory
from overspill.doctor import bench, look, probes_host, rates
from overspill.doctor.measure import TASKS, probes
from overspill.doctor.probe import Effort, Probe, Step
from overspill.errors import StorageError
from overspill.memory.segment import PAGE
from overspill.planning.resources import Rates

ON_GPU = (
    *(f"product, {rate}" for rate in ("float64", "float32", "float16", "complex64", "complex128", "integer")),
    "link, up",
    "link, down",
    "link, both ways at once",
    "device memory copy",
    "fused elementwise",
    "page-locking of new tiles",
)

CASES = [
    *(pytest.param("cpu", probe.name, id=probe.name) for probe in probes_host.PROBES),
    *(pytest.param("cuda", name, id=f"{name}, GPU", marks=pytest.mark.gpu) for name in ON_GPU),
]


@pytest.fixture
def effort(tmp_path: Path) -> Effort:
    return replace(SMALL, folder=str(tmp_path))


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(("side", "name"), CASES)
def test_every_probe_gives_a_rate_and_leaves_nothing(side: str, name: str, effort: Effort) -> None:
    (probe,) = (probe for probe in probes(side) if probe.name == name)
    opened = len(os.listdir("/proc/self/fd"))
    try:
        bench.prepare(probe, effort)
        per_s = bench.measure(time.monotonic(), effort.window_s)
    except StorageError as error:
        assert "keeps its files in memory" in str(error)  # where the tests' folder is a tmpfs
        assert name == "disk, reading"
    else:
        assert 1 < per_s < 1e18
    finally:
        bench.release()
    memory.close()
    if side == "cpu":
        assert len(os.listdir("/proc/self/fd")) <= opened
    assert list(Path(effort.folder).iterdir()) == [Path(effort.folder) / "scratch"]


@pytest.mark.gpu
def test_what_is_measured_of_a_gpu() -> None:
    assert tuple(probe.name for probe in probes("cuda")) == ON_GPU


@pytest.mark.parametrize("side", ["cpu", "cuda"])
def test_every_rate_that_plans_know_is_measured(side: str) -> None:
    names = {probe.name for probe in probes_host.PROBES} if side == "cpu" else set(ON_GPU)
    assert set(rates.TAKEN[side].values()) <= names
    assert rates.DISK in {probe.name for probe in probes_host.PROBES}
    taken = {*rates.TAKEN[side], "gemm_flop_per_s", "disk_per_s", "recompute_per_s", "task_s", "source"}
    assert taken == {field.name for field in fields(Rates)}


def test_a_rate_is_work_over_time() -> None:
    assert TASKS not in {probe.name for probe in probes_host.PROBES}
    steps = 0

    @contextmanager
    def prepared(effort: Effort) -> Iterator[Step]:
        def step() -> float:
            nonlocal steps
            steps += 1
            begun = time.perf_counter()
            while time.perf_counter() - begun < 0.01:
                pass
            return 5.0

        yield step

    bench.prepare(Probe("turning", "turn", prepared), Effort())
    assert steps == 1
    start = time.monotonic() + 0.05
    per_s = bench.measure(start, 0.1)
    assert time.monotonic() >= start + 0.1
    assert 100 < per_s <= 500
    assert 2 < steps <= 11
    bench.release()


def test_a_clock_that_is_set_back_delays_nothing(effort: Effort, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.prepare(probes_host.PROBES[0], effort)
    monkeypatch.setattr(time, "time", lambda: -1e3)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert bench.measure(time.monotonic() + 0.01, 0) > 0
    bench.release()
    assert slept == [pytest.approx(0.01, abs=0.01)]


@pytest.mark.skipif(look.file_system("/dev/shm") != "tmpfs", reason="there is no tmpfs here")
def test_memory_is_not_taken_for_a_disk(effort: Effort) -> None:
    (probe,) = (probe for probe in probes_host.PROBES if probe.name == "disk, reading")
    with pytest.raises(StorageError, match="/dev/shm keeps its files in memory"):
        bench.prepare(probe, replace(effort, folder="/dev/shm"))
    bench.release()


def test_a_slow_disk_is_not_written_to_for_long(effort: Effort, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(probes_host, "WRITTEN_NBYTES", 4096)
    monkeypatch.setattr(probes_host, "WRITTEN_S", 0)
    monkeypatch.setattr(probes_host, "_write", lambda file, block: written.append(file.write(block)))
    monkeypatch.setattr(probes_host, "_is_cached", lambda *_: False)
    (probe,) = (probe for probe in probes_host.PROBES if probe.name == "disk, reading")
    bench.prepare(probe, replace(effort, file_nbytes=2**20))
    bench.release()
    assert written == [4096]


def test_work_that_ends_ends_the_measurement() -> None:
    left = [3.0, 3.0, 0.0]

    @contextmanager
    def prepared(effort: Effort) -> Iterator[Step]:
        yield lambda: left.pop(0)

    bench.prepare(Probe("ending", "step", prepared), Effort())
    assert bench.measure(time.monotonic(), 60) > 0
    assert left == []
    bench.release()


def test_a_probe_that_cannot_be_made_ready_leaves_the_next_one_alone(effort: Effort) -> None:
    @contextmanager
    def failing(effort: Effort) -> Iterator[Step]:
        raise OSError("no such thing")
        yield

    with pytest.raises(OSError, match="no such thing"):
        bench.prepare(Probe("failing", "B", failing), effort)
    bench.prepare(probes_host.PROBES[0], effort)
    assert bench.measure(time.monotonic(), 0) > 0
    bench.release()


def test_little_memory_makes_little_data() -> None:
    asked = Effort()
    for host_nbytes in (2**30, 2**26, 2**22):
        for device_nbytes in (0, 2**28, 2**36):
            given = asked.within(host_nbytes, device_nbytes, workers=4)
            assert given.host_nbytes * 6 <= host_nbytes
            assert given.host_nbytes % PAGE == 0
            assert given.host_n**2 * 64 <= host_nbytes
            assert given.device_nbytes * 2 <= device_nbytes
            assert given.device_n**2 * 64 <= device_nbytes
            assert given.file_nbytes == asked.file_nbytes // 4
    assert asked.within(2**40, 2**40, workers=1) == asked
