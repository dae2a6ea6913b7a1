"""What may be replaced, and that nothing else is touched."""

import os
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

from overspill import storage
from overspill.errors import StorageError, StoreExistsError
from overspill.storage import target

X = da.from_array(np.arange(12.0).reshape(3, 4), chunks=(1, 4))


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_an_existing_target_is_untouched(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "a")
    before = contents(tmp_path)
    with pytest.raises(StoreExistsError, match="exists already: pass overwrite=True .*resume=True"):
        storage.save(X + 1, tmp_path / "a")
    assert contents(tmp_path) == before


def test_an_existing_file_or_directory_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "file").write_text("mine")
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    before = contents(tmp_path)
    for name in ("file", "directory", "link"):
        with pytest.raises(StoreExistsError):
            storage.save(X, tmp_path / name)
        with pytest.raises(StorageError, match="replaces Zarr arrays only"):
            storage.save(X, tmp_path / name, overwrite=True)
        with pytest.raises(StorageError, match="no Zarr array"):
            storage.save(X, tmp_path / name, resume=True)
    assert contents(tmp_path) == before


def test_overwriting(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "a")
    storage.save(X.T.astype("f4"), tmp_path / "a", overwrite=True)
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), X.compute().T.astype("f4"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_overwriting_an_array_of_another_program(tmp_path: Path, zarr_format: int) -> None:
    zarr.create_array(tmp_path / "a", shape=(4, 4), chunks=(2, 2), dtype="f8", zarr_format=zarr_format)[:] = 1.0
    storage.save(X, tmp_path / "a", overwrite=True)
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), X.compute())


def test_overwriting_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "a")
    os.symlink(tmp_path / "a", tmp_path / "link")
    storage.save(X + 1, tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), X.compute() + 1)


def test_groups_and_other_people_s_files_are_not_overwritten(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "group", mode="w").create_array("a", shape=(2,), dtype="f8")
    storage.save(X, tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(StorageError, match="replaces Zarr arrays only, but .* is a Zarr group"):
        storage.save(X, tmp_path / "group", overwrite=True)
    with pytest.raises(StorageError, match=r"holds notes\.txt, which is no part of a Zarr array"):
        storage.save(X, tmp_path / "a", overwrite=True)
    assert contents(tmp_path) == before


def test_the_old_store_stays_when_the_new_one_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.save(X, tmp_path / "a")
    before = contents(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(target.records, "write_save", fail)
        with pytest.raises(StorageError, match="cannot be written: No space left on device"):
            storage.save(X + 1, tmp_path / "a", overwrite=True)
    rename = os.rename

    def rename_once(source: Path, destination: Path) -> None:
        if destination == tmp_path / "a" and (source / "c").exists() is False:
            raise OSError(5, "Input/output error")
        rename(source, destination)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", rename_once)
        with pytest.raises(StorageError, match="cannot be written: Input/output error"):
            storage.save(X + 1, tmp_path / "a", overwrite=True)
    assert contents(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_two_saves_cannot_begin_the_same_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.save(X, tmp_path / "a")
    before = contents(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os.path, "lexists", lambda _: False)  # as it was when the other save had not begun
        with pytest.raises(StoreExistsError):
            storage.save(X, tmp_path / "a")
    assert contents(tmp_path) == before


def test_parents_are_made(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "new" / "er" / "a")
    np.testing.assert_array_equal(storage.open(tmp_path / "new" / "er" / "a").compute(), X.compute())


def test_a_file_among_the_parents(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="cannot be written"):
        storage.save(X, tmp_path / "file" / "a")
