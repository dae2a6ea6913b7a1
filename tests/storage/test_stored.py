"""Opening arrays, and what a reader is told about those that are not whole."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from dask._task_spec import DataNode, GraphNode

from cases import environment
from overspill import storage
from overspill.errors import StorageError, UsageError
from overspill.storage import StoredArray

VALUES = np.arange(80.0).reshape(8, 10)


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of another program's."""
    path = tmp_path / "a.zarr"
    write(path)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A store of `save`'s, four chunks in four blocks."""
    path = tmp_path / "saved.zarr"
    storage.save(da.from_array(VALUES, chunks=(4, 5)), path)
    return path


def write(path: Path, values: Any = VALUES, **options: Any) -> zarr.Array[Any]:
    array = zarr.create_array(path, **{"shape": values.shape, "dtype": values.dtype, "chunks": (4, 5), **options})
    array[...] = values
    return array


def stored_arrays(x: da.Array) -> list[StoredArray]:
    """The stored array of each chunk's own task."""
    found = []
    for task in dict(x.dask).values():
        assert isinstance(task, GraphNode)
        assert not task.dependencies
        arguments = [arg.value if isinstance(arg, DataNode) else arg for arg in getattr(task, "args", ())]
        found += [arg for arg in arguments if isinstance(arg, StoredArray)]
    return found


def one_sentence(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("compressors", ["auto", None])
def test_formats(tmp_path: Path, zarr_format: Any, compressors: Any) -> None:
    write(tmp_path / "a.zarr", zarr_format=zarr_format, compressors=compressors)
    x = storage.open(tmp_path / "a.zarr")
    assert x.chunks == ((4, 4), (5, 5))
    assert isinstance(x._meta, np.ndarray)
    np.testing.assert_array_equal(x.compute(), VALUES)


def test_sharded_stores_are_read_by_shard(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", chunks=(2, 5), shards=(4, 10))
    x = storage.open(tmp_path / "a.zarr")
    assert x.chunks == ((4, 4), (10,))
    np.testing.assert_array_equal(x.compute(), VALUES)


@pytest.mark.parametrize("chunks", [(3, 10), -1, {0: 2}, ((1, 7), (10,)), "auto"])
def test_other_chunks(path: Path, chunks: Any) -> None:
    x = storage.open(path, chunks=chunks)
    np.testing.assert_array_equal(x.compute(), VALUES)


@pytest.mark.parametrize("chunks", [(1, 2, 3), ((1, 1), (10,)), "many", object()])
def test_chunks_that_do_not_fit(path: Path, chunks: Any) -> None:
    with pytest.raises(UsageError, match=r"chunks=.* do not fit .*\(8, 10\)"):
        storage.open(path, chunks=chunks)


def test_each_chunk_has_a_graph_of_its_own(path: Path) -> None:
    assert len(stored_arrays(storage.open(path))) == 4


INDICES = [
    np.s_[1:3],
    np.s_[::-1],
    np.s_[3],
    np.s_[:, None, 2],
    np.s_[[3, 1]],
    np.s_[7:1:-2, ::3],
    np.s_[..., 0],
    np.s_[2:2],
    np.s_[-1, -1],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("kind", ["path", "saved"])
def test_indexing(kind: str, index: Any, request: pytest.FixtureRequest) -> None:
    x = storage.open(request.getfixturevalue(kind))
    np.testing.assert_array_equal(x[index].compute(), VALUES[index], strict=True)


@pytest.mark.parametrize("index", [index for index in INDICES if not isinstance(index, list)], ids=str)
def test_a_stored_array_is_indexed_as_numpy_does(path: Path, index: Any) -> None:
    stored = stored_arrays(storage.open(path))[0]
    assert (stored.shape, stored.dtype, stored.ndim) == ((8, 10), np.dtype("f8"), 2)
    np.testing.assert_array_equal(stored[index], VALUES[index])


def test_a_stored_array_travels_light(path: Path) -> None:
    stored = stored_arrays(storage.open(path))[0]
    text = pickle.dumps(stored)
    assert len(text) < 1000
    assert pickle.loads(text) == stored


def test_names_are_the_same_in_another_process(saved: Path) -> None:
    program = f"from overspill import storage; print(storage.open({str(saved)!r}).name)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    assert done.stdout.strip() == storage.open(saved).name, done.stderr


def test_names_change_with_the_contents(path: Path) -> None:
    before = storage.open(path).name
    assert storage.open(path).name == before
    zarr.open_array(path, mode="r+")[0, 0] = 5.0
    assert storage.open(path).name != before


def test_scalars_and_empty_arrays(tmp_path: Path) -> None:
    write(tmp_path / "scalar", np.array(3.0), chunks=())
    write(tmp_path / "empty", np.ones((0, 4)), chunks=(1, 4))
    assert storage.open(tmp_path / "scalar").compute() == 3.0
    assert storage.open(tmp_path / "empty").compute().shape == (0, 4)


@pytest.mark.parametrize("name", ["a b", "100%", "ü", "a#b", "a?b=c", "[x]", "*"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    storage.save(da.from_array(VALUES), tmp_path / name)
    np.testing.assert_array_equal(storage.open(tmp_path / name).compute(), VALUES)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"no Zarr array at {tmp_path}/none: nothing has that name"):
        storage.open(tmp_path / "none")


def test_a_directory_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(StorageError, match="no Zarr array at .*the directory holds no zarr.json"):
        storage.open(tmp_path)
    with pytest.raises(StorageError, match="no Zarr array at .*it is a file"):
        storage.open(tmp_path / "file")


@pytest.mark.parametrize("text", ["s3://bucket/a.zarr", "", 3, None])
def test_what_is_no_path(text: Any) -> None:
    with pytest.raises(UsageError, match="is a URL|is no path"):
        storage.open(text)


def test_a_group(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "group", mode="w")
    with pytest.raises(StorageError, match="is a Zarr group, which holds no arrays"):
        storage.open(tmp_path / "group")
    group.create_array("b", shape=(2,), dtype="f8")
    group.create_array("a", shape=(2,), dtype="f8")
    with pytest.raises(StorageError, match="is a Zarr group, which holds the arrays a, b: open one, .*/group/a'"):
        storage.open(tmp_path / "group")


@pytest.mark.parametrize("keep", [0, 10, 200])
@pytest.mark.parametrize("kind", ["path", "saved"])
def test_truncated_metadata(kind: str, keep: int, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    metadata = path / "zarr.json"
    metadata.write_bytes(metadata.read_bytes()[:keep])
    with pytest.raises(StorageError, match=r"is no readable Zarr array: zarr\.json is damaged") as error:
        storage.open(path)
    one_sentence(error)


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"zarr_format": 3, "node_type": "array"}', "\x00\xff"])
def test_garbage_metadata(path: Path, text: str) -> None:
    (path / "zarr.json").write_text(text, encoding="latin-1")
    with pytest.raises(StorageError, match=r"is no readable Zarr array: zarr\.json is damaged") as error:
        storage.open(path)
    one_sentence(error)


@pytest.mark.parametrize("kind", ["path", "saved"])
def test_a_truncated_chunk(kind: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    chunk = path / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:9])
    x = storage.open(path)
    np.testing.assert_array_equal(x[:4].compute(), VALUES[:4])
    with pytest.raises(StorageError, match=r"cannot be read at \[4:8, 0:5\]") as error:
        x.compute()
    assert str(path) in one_sentence(error)


def test_a_deleted_chunk_of_a_saved_store(saved: Path) -> None:
    (saved / "c" / "1" / "0").unlink()
    x = storage.open(saved)
    with pytest.raises(StorageError, match=r"cannot be read at \[4:8, 0:5\].*missing or damaged") as error:
        x.compute()
    one_sentence(error)


def test_a_missing_chunk_of_another_program_is_fill_values(path: Path) -> None:
    (path / "c" / "1" / "0").unlink()
    assert storage.open(path)[4:, :5].compute().sum() == 0


def test_a_save_that_is_not_finished(tmp_path: Path) -> None:
    writes = storage.save(da.from_array(VALUES, chunks=(4, 5)), tmp_path / "part", compute=False)
    assert writes is not None
    writes[0].compute()
    with pytest.raises(StorageError, match=r"not complete, 2 of 4 blocks are not written: .*resume=True") as error:
        storage.open(tmp_path / "part")
    one_sentence(error)


@pytest.mark.parametrize("options", [{"values": VALUES.T}, {"values": VALUES.astype("f4")}, {"chunks": (2, 2)}, {}])
def test_a_saved_store_that_another_program_changed(saved: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    write(tmp_path / "other", **options)  # {} differs in its compressor
    (tmp_path / "other" / "zarr.json").replace(saved / "zarr.json")
    with pytest.raises(StorageError, match=r"another program changed .* remove .*\.overspill"):
        storage.open(saved)


def test_a_store_replaced_after_it_was_opened(saved: Path) -> None:
    x = storage.open(saved)
    storage.save(da.from_array(-VALUES, chunks=(4, 5)), saved, overwrite=True)
    with pytest.raises(StorageError, match="was opened is gone or replaced: open it again"):
        x.compute()
    np.testing.assert_array_equal(storage.open(saved).compute(), -VALUES)


def test_attributes_are_no_part_of_an_array_s_identity(saved: Path) -> None:
    x = storage.open(saved)
    zarr.open_array(saved, mode="r+").attrs["unit"] = "m"
    np.testing.assert_array_equal(x.compute(), VALUES)
