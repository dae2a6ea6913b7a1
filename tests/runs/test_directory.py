"""A run's directory is new, its files are whole, and one process at a time works on it."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from overspill.errors import StorageError, UsageError
from overspill.runs.directory import LOCK, RunDirectory, check_unused, create, create_default, locked


def test_created_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "a" / "b", tmp_path / "empty"):
        assert create(path).path.is_dir()


def test_existing_directory_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError, match="is not empty: name a new directory"):
        create(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    for path in (tmp_path / "mine", tmp_path / "mine" / "run"):
        with pytest.raises(UsageError, match="Not a directory"):
            create(path)
    assert (tmp_path / "mine").read_text() == "precious"


def test_unused_writes_nothing(tmp_path: Path) -> None:
    check_unused(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_json_is_whole_or_old(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.write("plan", {"name": "×"})
    with pytest.raises(TypeError):
        directory.write("plan", {"bad": object()})
    assert directory.read("plan") == {"name": "×"}
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_unwritable_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "plan.json").mkdir()
    with pytest.raises(StorageError, match=r"plan\.json cannot be written: Is a directory"):
        RunDirectory(tmp_path).write("plan", {})
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_no_run_and_damaged_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no run: manifest\.json cannot be read"):
        RunDirectory(tmp_path).read("manifest")
    (tmp_path / "manifest.json").write_text('{"status": ')
    with pytest.raises(StorageError, match=r"manifest\.json is damaged"):
        RunDirectory(tmp_path).read("manifest")


def test_default_path_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime(2026, 11, 21, 9, 30)
    paths = [create_default("matmul", now).path for _ in range(3)]
    assert [path.name for path in paths] == [f"matmul-20261121-093000{end}" for end in ("", "-2", "-3")]


def test_default_path_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("precious")
    with pytest.raises(UsageError, match="cannot be made"):
        create_default("matmul", datetime(2026, 11, 21))


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        RunDirectory(tmp_path).write("plan", {"predicted_s": float("nan")})


def test_second_worker_on_a_run_is_refused(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with locked(directory), pytest.raises(UsageError, match="worked on by another process"), locked(directory):
        pass
    with locked(directory):
        pass
    assert (tmp_path / LOCK).exists()


def test_readable_by_other_programs(tmp_path: Path) -> None:
    RunDirectory(tmp_path).write("ledger", {"seconds": 1.5})
    assert json.loads((tmp_path / "ledger.json").read_text()) == {"seconds": 1.5}
