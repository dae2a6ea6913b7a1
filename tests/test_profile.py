"""A stored profile: written whole, read once, used on the machine it is of, and never in the way."""

import json
import math
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from overspill import backend, machine, profile
from overspill.errors import StorageError
from overspill.planning.resources import Resources
from overspill.profile import Machine, Profile

RATES = {
    "cpu": {
        "gemm_flop_per_s": {"float64": 5e10},
        "upload_per_s": 9e9,
        "download_per_s": 9e9,
        "both_ways_per_s": 9e9,
        "disk_per_s": 2e9,
        "recompute_per_s": 5e8,
        "memory_per_s": 6e9,
        "elementwise_per_s": 4e9,
        "task_s": 1e-3,
    },
    "cuda": {"upload_per_s": 5.2e10},
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine" / "machine.json"
    monkeypatch.setenv(profile.VARIABLE, str(path))
    profile._say.cache_clear()
    return path


def measured(**changes: Any) -> Profile:
    here = machine.this_machine(gpus=False)
    base = Profile("2026-11-22T01:02:03+00:00", here, {"dask": "2026.8.0"}, RATES, 3e9, [{"name": "link, up"}])
    return replace(base, **changes)


def resources(workers: int | None = None) -> Resources:
    return machine.resources("cpu", machine.cpu_count() if workers is None else workers, 1, pool_nbytes=2**30)


def test_plans_take_what_was_measured_and_say_so(file: Path) -> None:
    profile.save(measured(), file)
    rates = resources().rates
    assert rates.source == "measured on 2026-11-22 by overspill doctor"
    assert (rates.gemm_flop_per_s["float64"], rates.memory_per_s, rates.task_s) == (5e10, 6e9, 1e-3)
    # What was not measured keeps its built-in figure.
    assert rates.gemm_flop_per_s["float32"] == machine.cpu_rates().gemm_flop_per_s["float32"]


def test_tasks_share_the_disk(file: Path) -> None:
    profile.save(measured(), file)
    assert machine.resources("cpu", 1, 1, pool_nbytes=1).rates.disk_per_s == 2e9
    assert machine.resources("cpu", 2, 3, pool_nbytes=1).rates.disk_per_s == 5e8


def test_fewer_workers_than_cores_are_told(file: Path) -> None:
    cores = machine.cpu_count()
    profile.save(measured(machine=replace(machine.this_machine(gpus=False), cores=cores + 1)), file)
    assert resources().rates.source.endswith(f"by overspill doctor with all {cores + 1} cores busy")


def test_what_was_not_measured_is_told(file: Path) -> None:
    known = {name: value for name, value in RATES["cpu"].items() if name != "disk_per_s"}
    profile.save(measured(rates={"cpu": known, "cuda": {}}, disk_per_s=None), file)
    rates = resources().rates
    assert rates.source.endswith("(disk_per_s: built-in)")
    assert rates.disk_per_s == machine.cpu_rates().disk_per_s


def test_gpus_need_the_same_gpus_and_driver(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("NVIDIA H200", 2**37),) * 2)
    monkeypatch.setattr(machine, "driver", lambda: "580.95.05")
    profile.save(measured(machine=machine.this_machine(gpus=True)), file)
    found = machine.resources("cuda", 2, 2, pool_nbytes=1)
    assert found.rates.upload_per_s == 5.2e10
    assert found.rates.source.startswith("measured on 2026-11-22 by overspill doctor (")
    assert found.host_rates.memory_per_s == 6e9
    one = machine.resources("cuda", 1, 2, pool_nbytes=1)
    assert "with all 2 GPUs busy" in one.rates.source
    monkeypatch.setattr(machine, "driver", lambda: "590.1")
    other = machine.resources("cuda", 2, 2, pool_nbytes=1)
    assert "(the profile is of driver 580.95.05, here is 590.1: run overspill doctor)" in other.rates.source
    assert other.rates.upload_per_s == machine.cuda_rates().upload_per_s
    assert other.host_rates.memory_per_s == 6e9


@pytest.mark.parametrize(
    ("theirs", "here", "why"),
    [
        (Machine("A", 8, (), ""), Machine("A", 8, (), ""), ""),
        (Machine("A", 8, ("H200", "H200"), "580"), Machine("A", 8, (), ""), ""),
        (Machine("A", 8, ("H200", "H200"), "580"), Machine("A", 4, ("H200",), "580"), ""),
        (Machine("A", 8, (), ""), Machine("B", 8, (), ""), "another processor, A"),
        (Machine("A", 8, (), ""), Machine("A", 9, (), ""), "8 cores, here are 9"),
        (Machine("A", 8, ("H200",), "580"), Machine("A", 8, ("H200", "H200"), "580"), "1 GPUs, here are 2"),
        (Machine("A", 8, ("H200",), "580"), Machine("A", 8, ("L4",), "580"), "other GPUs, H200"),
        (Machine("A", 8, ("L4",), "580"), Machine("A", 8, ("L4",), "590"), "driver 580, here is 590"),
    ],
)
def test_which_machine_a_profile_is_of(theirs: Machine, here: Machine, why: str) -> None:
    said = profile.mismatch(theirs, here)
    assert why in said
    assert bool(said) == bool(why)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is damaged"),
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('"text"', "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"schema": 1}', "is damaged"),
        ('{"schema": 0}', "is of another version of overspill"),
        ({"rates": {"cpu": {"task_s": -1}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"task_s": "fast"}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"task_s": True}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"task_s": 1e999}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"task_s": 1e9}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"memory_per_s": math.nan}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"memory_per_s": 1e-300}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"memory_per_s": 1e300}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"memory_per_s": 10**400}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"gemm_flop_per_s": {"float64": 0}}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {"gemm_flop_per_s": 7}, "cuda": {}}}, "is damaged"),
        ({"rates": {"cpu": {}}}, "is damaged"),
        ({"rates": {"cpu": {}, "cuda": {}}}, "holds no figures of a core"),
        ({"disk_per_s": 0}, "is damaged"),
        ({"machine": None}, "is damaged"),
        ({"machine": {"processor": "", "cores": math.inf, "gpus": [], "driver": ""}}, "is damaged"),
        ({"machine": {"processor": "Abacus", "cores": 1, "gpus": [], "driver": ""}}, "another processor, Abacus"),
    ],
)
def test_what_cannot_be_used_is_told_once_and_does_not_stop_anything(
    file: Path, content: str | dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    profile.save(measured(), file)
    if isinstance(content, str):
        file.write_text(content)
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | content))
    for _ in range(2):
        rates = resources().rates
    assert rates.source.startswith("built-in figures for a CPU core (the profile ")
    assert why in rates.source
    assert replace(rates, source="") == replace(machine.cpu_rates(), source="")
    assert [record.message for record in caplog.records if why in record.message] == [
        f"built-in figures are used: {rates.source.partition('(')[2].removesuffix(')')}"
    ]


def test_a_file_that_cannot_be_read(file: Path) -> None:
    file.mkdir(parents=True)
    assert "cannot be read (Is a directory)" in resources().rates.source


def test_without_a_profile_nothing_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resources().rates == machine.cpu_rates()
    monkeypatch.setenv(profile.VARIABLE, "")
    assert resources().rates == machine.cpu_rates()


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(profile.VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert profile.path() == tmp_path / "overspill" / "machine.json"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profile.path() == tmp_path / ".config" / "overspill" / "machine.json"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"profile cannot be written to .*: name another file in OVERSPILL_PROFILE"):
        profile.save(measured(), tmp_path / "file" / "machine.json")
    (tmp_path / "machine.json").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        profile.save(measured(), tmp_path / "machine.json")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "machine.json"}


def test_a_path_that_is_no_text_is_written(file: Path) -> None:
    profile.save(measured(figures=[{"failure": os.fsdecode(b"/\xff keeps its files in memory")}]), file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert resources().rates.source.startswith("measured on")


def test_writers_at_once_leave_one_of_theirs_whole(file: Path) -> None:
    dates = [f"2026-11-{day:02}" for day in range(1, 17)]
    threads = [threading.Thread(target=profile.save, args=(measured(measured=date), file)) for date in dates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(file.read_text())["measured"] in dates
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert resources().rates.source.startswith("measured on 2026-11-")
