"""What results say of where they come from."""

import importlib
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "overspill"


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_source_is_named_as_git_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    record = importlib.import_module("record")

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    shutil.copytree(SOURCE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "source" / "memory.py").touch()  # sorted otherwise than the directory of that name
    git("init")
    git("-c", "core.autocrlf=false", "add", "source")
    assert record.tree(tmp_path / "source") == git("write-tree", "--prefix=source/")
    (tmp_path / "source" / "memory" / "__pycache__").mkdir()
    (tmp_path / "source" / "memory" / "__pycache__" / "pool.pyc").touch()
    assert record.tree(tmp_path / "source") == git("write-tree", "--prefix=source/")
