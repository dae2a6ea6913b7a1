"""Completion records: what they say, and whom they do not believe."""

from dataclasses import replace
from pathlib import Path

import pytest

from overspill.errors import StorageError
from overspill.storage import records
from overspill.storage.records import Save

SAVE = Save("first", (4, 3), "<f8", ((2, 2), (3,)), (2, 3), "token")


def test_a_save_is_read_as_it_was_written(tmp_path: Path) -> None:
    records.write_save(tmp_path, SAVE)
    assert records.read_save(tmp_path) == SAVE
    assert records.recorded(tmp_path, SAVE) == set()


def test_other_stores_have_no_save(tmp_path: Path) -> None:
    assert records.read_save(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": 1, "shape": [2]}', "\xff"])
def test_a_damaged_description(tmp_path: Path, text: str) -> None:
    records.write_save(tmp_path, SAVE)
    (tmp_path / ".overspill" / "save.json").write_text(text, encoding="latin-1")
    with pytest.raises(StorageError, match=r"save\.json is damaged .*overwrite=True"):
        records.read_save(tmp_path)


def test_records_are_of_blocks(tmp_path: Path) -> None:
    records.write_save(tmp_path, SAVE)
    records.write_record(tmp_path, SAVE, (1, 0))
    records.write_record(tmp_path, SAVE, (1, 0))
    (tmp_path / ".overspill" / "blocks-first" / ".leftover").touch()
    assert records.recorded(tmp_path, SAVE) == {(1, 0)}


def test_a_block_is_intact_while_its_chunk_files_are_whole(tmp_path: Path) -> None:
    records.write_save(tmp_path, SAVE)
    for block_id in [(0, 0), (1, 0)]:
        records.write_record(tmp_path, SAVE, block_id)
        file = records.chunk_file(tmp_path, block_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(2 * 3 * 8))
    assert records.intact(tmp_path, SAVE) == {(0, 0), (1, 0)}
    records.chunk_file(tmp_path, (0, 0)).write_bytes(bytes(5))
    assert records.intact(tmp_path, SAVE) == {(1, 0)}
    records.chunk_file(tmp_path, (1, 0)).unlink()
    assert records.intact(tmp_path, SAVE) == set()


def test_a_task_of_an_earlier_save_leaves_no_record(tmp_path: Path) -> None:
    records.write_save(tmp_path, SAVE)
    stale = replace(SAVE, id="stale")
    assert not records.is_current(tmp_path, stale)
    with pytest.raises(FileNotFoundError):
        records.write_record(tmp_path, stale, (0, 0))
    assert records.recorded(tmp_path, SAVE) == set()


def test_a_scalar_has_one_block(tmp_path: Path) -> None:
    scalar = Save("scalar", (), "<f8", (), (), "token")
    records.write_save(tmp_path, scalar)
    records.write_record(tmp_path, scalar, ())
    assert scalar.block_count == 1
    assert records.recorded(tmp_path, scalar) == {()}
