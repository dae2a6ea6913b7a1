"""What goes from store to store piece by piece is what it would be as a whole; what cannot go so, goes as a whole."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from overspill import storage
from overspill.cluster import Cluster
from overspill.errors import StorageError
from overspill.kernels import fused_numpy
from overspill.ops import elementwise
from overspill.storage import raw, records, through
from overspill.storage.through import Passage

VALUES = np.arange(1.0, 55).reshape(6, 9)

ALL_BLOCKS = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]


@elementwise
def blend(x: Any, y: Any, share: float = 0.25) -> Any:
    return np.where(x > 9, x * share + np.sqrt(y) * (1 - share), y)


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Blocks that go piece by piece, as they do."""
    indices = []
    original = Passage.pieces

    def pieces(self: Passage, index: tuple[int, ...]) -> Any:
        indices.append(index)
        return original(self, index)

    monkeypatch.setattr(Passage, "pieces", pieces)
    return indices


def stored(path: Path, values: np.ndarray, chunks: tuple[int, ...]) -> da.Array:
    storage.save(da.from_array(values, chunks=chunks), path)
    return storage.open(path)


@pytest.mark.parametrize("piece_nbytes", [1, 40, fused_numpy.BLOCK_NBYTES])
@pytest.mark.parametrize("dtypes", [("f8", "f8"), ("f4", "i2"), ("c16", "?"), ("u1", "f2")], ids="-".join)
def test_pieces_make_the_whole(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    passed: list[tuple[int, ...]],
    dtypes: tuple[str, str],
    piece_nbytes: int,
) -> None:
    for module in (fused_numpy, through):
        monkeypatch.setattr(module, "BLOCK_NBYTES", piece_nbytes)
    a, b = (VALUES % 13).astype(dtypes[0]), (VALUES % 7).astype(dtypes[1])
    x, y = stored(tmp_path / "x", a, (2, 3)), stored(tmp_path / "y", b, (2, 3))
    storage.save(blend(x, y, share=0.5), tmp_path / "z")
    np.testing.assert_array_equal(storage.open(tmp_path / "z").compute(), blend(a, b, share=0.5), strict=True)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "z", mode="r")[...], blend(a, b, share=0.5))
    assert sorted(passed) == ALL_BLOCKS


def test_chunks_that_reach_beyond_the_array_go_as_blocks(tmp_path: Path, passed: list[tuple[int, ...]]) -> None:
    x = stored(tmp_path / "x", VALUES, (4, 5))
    storage.save(elementwise(lambda x: 1 / x)(x), tmp_path / "y")  # of the padding that would be 1 / 0
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), 1 / VALUES)
    assert passed == [(0, 0)]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_shapes_with_little_in_them(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.full(shape, 2.0)
    x = stored(tmp_path / "x", values, shape)
    storage.save(elementwise(lambda x: x + 1)(x), tmp_path / "y")
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), values + 1, strict=True)


def test_a_copy_and_one_of_several_results(tmp_path: Path, passed: list[tuple[int, ...]]) -> None:
    x = stored(tmp_path / "x", VALUES, (2, 3))
    storage.save(x, tmp_path / "same")
    _, root = elementwise(lambda x: (x * x, np.sqrt(x)))(x)
    storage.save(root, tmp_path / "root")
    np.testing.assert_array_equal(storage.open(tmp_path / "same").compute(), VALUES)
    np.testing.assert_array_equal(storage.open(tmp_path / "root").compute(), np.sqrt(VALUES))
    assert sorted(passed) == sorted(ALL_BLOCKS * 2)


def assigned_before(x: da.Array) -> da.Array:
    x = x.copy()
    x[0] = 5
    return blend(x, x)


def assigned_after(x: da.Array) -> da.Array:
    y = blend(x, x)
    y[0] = -1
    return y


WHOLE: dict[str, Callable[[da.Array], da.Array]] = {
    "a part": lambda x: blend(x[2:], x[:-2]),
    "broadcast": lambda x: blend(x, x[:1]),
    "in memory": lambda x: blend(x, da.from_array(VALUES, chunks=(2, 3))),
    "persisted": lambda x: blend(x.persist(), x),
    "optimized": lambda x: blend(dask.optimize(x + 1)[0], x),
    "not elementwise's": lambda x: x * 0.25 + 1,
    "of two steps": lambda x: blend(blend(x, x), x),
    "other chunks": lambda x: blend(x, x).rechunk((3, 9)),
    "cast": lambda x: blend(x, x).astype("f4"),
    "assigned to before": assigned_before,
    "assigned to after": assigned_after,
}


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_other_arrays_go_as_blocks(
    tmp_path: Path, passed: list[tuple[int, ...]], make: Callable[[da.Array], da.Array]
) -> None:
    y = make(stored(tmp_path / "x", VALUES, (2, 3)))
    storage.save(y, tmp_path / "y")
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), y.compute(), strict=True)
    assert not passed


@pytest.mark.parametrize(
    "options", [{}, {"compressors": None, "shards": (4, 9)}, {"zarr_format": 2}], ids=["compressed", "sharded", "2"]
)
def test_stores_that_only_zarr_can_read_go_as_blocks(
    tmp_path: Path, passed: list[tuple[int, ...]], options: dict[str, Any]
) -> None:
    zarr.create_array(tmp_path / "x", shape=(6, 9), chunks=(2, 3), dtype="f8", **options)[...] = VALUES
    storage.save(elementwise(np.sqrt)(storage.open(tmp_path / "x")), tmp_path / "y")
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), np.sqrt(VALUES))
    assert not passed


def test_what_another_program_did_not_store_is_fill_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(through, "BLOCK_NBYTES", 32)
    options: dict[str, Any] = {"dtype": "f8", "compressors": None, "fill_value": 7.0}
    z = zarr.create_array(tmp_path / "x", shape=(6, 9), chunks=(2, 3), **options)
    z[2:, 3:] = VALUES[2:, 3:]
    storage.save(elementwise(np.sqrt)(storage.open(tmp_path / "x")), tmp_path / "y")
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), np.sqrt(z[...]))
    assert sorted(passed) == ALL_BLOCKS


def test_stores_cut_in_different_ways_go_as_blocks(tmp_path: Path, passed: list[tuple[int, ...]]) -> None:
    x, y = stored(tmp_path / "x", VALUES, (2, 3)), stored(tmp_path / "y", VALUES, (3, 9))
    storage.save(blend(x, y), tmp_path / "z")
    np.testing.assert_array_equal(storage.open(tmp_path / "z").compute(), blend(VALUES, VALUES))
    assert not passed


def test_no_block_lies_in_memory(tmp_path: Path) -> None:
    x = stored(tmp_path / "x", np.arange(2.0**20), (2**20,))
    writes = storage.save(elementwise(lambda x: np.sqrt(x) * 3 + x)(x), tmp_path / "y", compute=False)
    assert writes is not None
    tracemalloc.start()
    try:
        writes.compute()
        assert tracemalloc.get_traced_memory()[1] < x.nbytes / 2
    finally:
        tracemalloc.stop()


def left_in(path: Path) -> list[str]:
    """Chunk files, records and what is not whole."""
    save = records.read_save(path)
    assert save is not None
    kept = (path / "c", path / ".overspill" / f"blocks-{save.id}")
    return [file.name for directory in kept for file in directory.rglob("*") if file.is_file()]


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"short")], ids=["missing", "short"])
def test_a_damaged_source_is_reported_and_nothing_half_written_stays(tmp_path: Path, damage: Any) -> None:
    x = stored(tmp_path / "x", VALUES, (6, 9))
    writes = storage.save(blend(x, x), tmp_path / "y", compute=False)
    assert writes is not None
    damage(tmp_path / "x" / "c" / "0" / "0")
    with pytest.raises(StorageError, match=r"x cannot be read at \[0:6, 0:9\], for a chunk is missing or damaged"):
        writes.compute()
    assert left_in(tmp_path / "y") == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = stored(tmp_path / "x", VALUES, (6, 9))
    writes = storage.save(blend(x, x), tmp_path / "y", compute=False)
    assert writes is not None

    def fail(opened: Any, data: Any) -> None:
        opened.write(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(raw, "append", fail)
    with pytest.raises(StorageError, match=r"block \(0, 0\) of .*y cannot be written: No space left on device"):
        writes.compute()
    assert left_in(tmp_path / "y") == []
    monkeypatch.undo()
    writes.compute()
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), blend(VALUES, VALUES))


def test_a_store_replaced_while_a_block_is_written_gets_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = stored(tmp_path / "x", VALUES, (6, 9))
    stale = storage.save(blend(x, x), tmp_path / "y", compute=False)
    assert stale is not None
    append = raw.append

    def replace(opened: Any, data: Any) -> None:
        monkeypatch.setattr(raw, "append", append)
        append(opened, data)
        storage.save(da.from_array(-VALUES, chunks=(6, 9)), tmp_path / "y", overwrite=True)

    monkeypatch.setattr(raw, "append", replace)
    with pytest.raises(StorageError, match=r"block \(0, 0\) of .*y cannot be written"):
        stale.compute()
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), -VALUES)


def test_resuming(tmp_path: Path, passed: list[tuple[int, ...]]) -> None:
    x = stored(tmp_path / "x", VALUES, (2, 3))
    storage.save(blend(x, x), tmp_path / "y")
    (tmp_path / "y" / "c" / "1" / "2").unlink()
    passed.clear()
    storage.save(blend(x, x), tmp_path / "y", resume=True)
    assert passed == [(1, 2)]
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), blend(VALUES, VALUES))


def test_on_worker_processes(tmp_path: Path, two_workers: Cluster) -> None:
    x = stored(tmp_path / "x", VALUES, (4, 3))
    with dask.config.set(scheduler=two_workers.client):
        storage.save(blend(x, x), tmp_path / "y")
    np.testing.assert_array_equal(storage.open(tmp_path / "y").compute(), blend(VALUES, VALUES))
