"""``overspill doctor``: what it prints on one start of workers, what it stores, and its exit statuses."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from doctor.machines import SMALL, server
from overspill import machine, profile
from overspill.cli import doctor as command
from overspill.cli.main import cli
from overspill.cluster import local
from overspill.doctor import examine, look, measure
from overspill.doctor.facts import Facts
from overspill.doctor.figures import Figure
from overspill.errors import ClusterError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to examine and a place for the profile, beside two workers and little to measure."""
    monkeypatch.setattr(command, "EFFORT", SMALL)
    monkeypatch.setattr(machine, "cpu_count", lambda: 2)
    monkeypatch.setenv(profile.VARIABLE, str(tmp_path / "config" / "machine.json"))
    folder = tmp_path / "folder"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def doctor(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["doctor", *map(str, arguments)])


def found(monkeypatch: pytest.MonkeyPatch, facts: Facts) -> None:
    monkeypatch.setattr(examine, "look", lambda folder: facts)


def one_figure(*arguments: object) -> Iterator[Figure]:
    yield Figure("cpu", "memory copy", "B", 1e9, (1e9,))


@pytest.mark.usefixtures("nothing_left")
def test_measured_stored_and_used(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Facts] = []
    monkeypatch.setattr(examine, "look", lambda folder: looked.append(look.look(folder)) or looked[0])
    result = doctor("--folder", here, "--json")
    assert result.stderr == ""
    told: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (1 if told["advice"] else 0)
    assert told["facts"]["folder"]["path"] == str(here)
    cores = [figure for figure in told["figures"] if figure["side"] == "cpu"]
    assert len(cores) == 14
    for figure in cores:
        if figure["name"] != "disk, reading":  # the folder may lie in memory
            assert figure["failure"] == ""
            assert figure["alone_per_s"] > 0
    stored = Path(told["profile"])
    assert stored == profile.path()
    written = json.loads(stored.read_text())
    assert written["rates"] == told["rates"]
    assert written["machine"]["cores"] == 2
    rates = machine.resources("cpu", 2, 1, pool_nbytes=2**30).rates
    assert rates.source.startswith(f"measured on {written['measured'][:10]} by overspill doctor")
    (product,) = (figure for figure in cores if figure["name"] == "product, float64")
    assert rates.gemm_flop_per_s["float64"] == pytest.approx(sum(product["each_per_s"]) / 2)


def test_a_dry_run_only_looks(here: Path) -> None:
    result = doctor("--folder", here, "--dry-run")
    assert result.stdout.splitlines()[0].startswith("system        ")
    assert f"spilling to   {here}" in result.stdout.replace("\n              ", " ")
    assert "a dry run: nothing was measured and nothing written" in result.stdout
    assert "product" not in result.stdout
    assert not (here.parent / "config").exists()
    assert json.loads(doctor("--folder", here, "--dry-run", "--json").stdout)["figures"] == []


def test_nothing_to_mend_is_0(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, server())
    result = doctor("--folder", here, "--dry-run")
    assert result.exit_code == 0
    assert "to mend       nothing" in result.stdout
    assert "GPU 0 to 3    NVIDIA H200, 141 GiB, PCIe 63 GB/s, with ECC" in result.stdout
    assert "CUDA          driver 580.95.05 for CUDA 13.0, CuPy made for 13.0" in result.stdout
    assert "GPU to GPU    all to all" in result.stdout


def test_something_to_mend_is_1(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, server(without=("dask-cuda",), shm_nbytes=64 * 2**20))
    result = doctor("--folder", here, "--dry-run")
    assert result.exit_code == 1
    lines = " ".join(result.stdout.split())
    assert "to mend 4 GPUs are here, but dask-cuda" in lines
    assert "/dev/shm is 64 MiB" in lines
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_workers_that_do_not_start_are_something_to_mend(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise ClusterError("LocalCluster did not start: no ports are left")

    monkeypatch.setattr(local, "running", refuse)
    found(monkeypatch, server(cuda={"gpus": (), "present": 0}))
    result = doctor("--folder", here)
    assert result.exit_code == 1
    assert "workers to measure on cannot be started: LocalCluster did not start: no ports" in " ".join(
        result.stdout.split()
    )
    assert not (here.parent / "config").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folder", "gone"], "'gone' does not exist"),
        (["--folder", __file__], "is a file"),
        (["--fast"], "No such option"),
        (["now"], "unexpected extra argument"),
    ],
)
def test_usage_is_2(arguments: list[str], message: str) -> None:
    result = doctor(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr


@pytest.mark.parametrize(
    ("named", "said", "status"),
    [
        (os.devnull + "/machine.json", "the profile cannot be written to /dev/null/machine.json (", 1),
        ("", "not stored", 0),
    ],
)
def test_a_profile_that_is_not_stored(
    here: Path, monkeypatch: pytest.MonkeyPatch, named: str, said: str, status: int
) -> None:
    monkeypatch.setenv(profile.VARIABLE, named)
    found(monkeypatch, server(cuda={"gpus": (), "present": 0}))
    monkeypatch.setattr(measure, "figures", one_figure)
    result = doctor("--folder", here)
    assert said in " ".join(result.stdout.split())
    assert (result.exit_code, result.stderr) == (status, "")
    assert json.loads(doctor("--folder", here, "--json").stdout)["profile"] is None
