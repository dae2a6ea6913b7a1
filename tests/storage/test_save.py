"""Saving: round trips, interruptions, and going on after them."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from dask._task_spec import Alias, Task
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases import environment
from overspill import storage
from overspill.errors import ArrayError, DTypeError, StorageError, UsageError
from overspill.storage import records

VALUES = np.arange(54.0).reshape(6, 9)


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


class Flaky:
    """A block function that counts its calls by block, and fails once, at a given block."""

    def __init__(self, fails_at: tuple[int, ...] | None = None) -> None:
        self.fails_at = fails_at
        self.calls: Counter[tuple[int, ...]] = Counter()

    def __call__(self, block: Any, block_id: Any = None) -> Any:
        self.calls[block_id] += 1
        if block_id == self.fails_at:
            self.fails_at = None
            raise RuntimeError("the power went")
        return block + 1

    def array(self) -> da.Array:
        x = da.from_array(VALUES, chunks=(2, 3))
        return da.map_blocks(self, x, name="flaky", dtype="f8", meta=np.empty((0, 0)))


DTYPES = ["?", "i1", "u8", "f2", "f4", "f8", "c8", "c16", ">f4", "M8[ns]", "m8[s]", "S3", "U3"]


@pytest.mark.filterwarnings("ignore:The data type .* does not have a Zarr V3 specification")
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_of_dtypes(tmp_path: Path, dtype: str) -> None:
    values = (VALUES % 7).astype(dtype)
    storage.save(da.from_array(values, chunks=(4, 5)), tmp_path / "a")
    expected = values.astype(values.dtype.newbyteorder("="))
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), expected, strict=True)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], expected)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple), max_size=3).map(tuple))
def test_round_trip_of_ragged_chunks(tmp_path_factory: pytest.TempPathFactory, chunks: Any) -> None:
    path = tmp_path_factory.mktemp("ragged") / "a"
    shape = tuple(map(sum, chunks))
    values = np.arange(1.0, 1.0 + np.prod(shape, dtype=int)).reshape(shape)
    storage.save(da.from_array(values, chunks=chunks), path)
    np.testing.assert_array_equal(storage.open(path).compute(), values, strict=True)
    np.testing.assert_array_equal(zarr.open_array(path, mode="r")[...], values)


def test_views_and_orders(tmp_path: Path) -> None:
    for name, values in {"T": VALUES.T, "strided": VALUES[::2, ::-3], "F": np.asfortranarray(VALUES)}.items():
        storage.save(da.from_array(values, chunks=(2, 2)), tmp_path / name)
        np.testing.assert_array_equal(storage.open(tmp_path / name).compute(), values)


def test_what_is_no_dask_array(tmp_path: Path) -> None:
    storage.save(VALUES, tmp_path / "a")
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES)


def test_large_blocks_are_stored_as_chunks_that_divide_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overspill.storage.layout.LARGEST_CHUNK_NBYTES", 64)
    values = np.arange(16.0 * 24).reshape(16, 24)
    storage.save(da.from_array(values, chunks=(8, 12)), tmp_path / "a")
    x = storage.open(tmp_path / "a")
    assert x.chunksize == (2, 3)
    np.testing.assert_array_equal(x.compute(), values)
    np.testing.assert_array_equal(storage.open(tmp_path / "a", chunks=(8, 5)).compute(), values)


def test_blocks_of_fill_values_are_stored(tmp_path: Path) -> None:
    storage.save(da.zeros((4, 4), chunks=2), tmp_path / "a")
    assert len([file for file in (tmp_path / "a" / "c").rglob("*") if file.is_file()]) == 4


def test_nothing_is_computed_without_compute(tmp_path: Path) -> None:
    flaky = Flaky()
    writes = storage.save(flaky.array(), tmp_path / "a", compute=False)
    assert writes is not None
    assert not flaky.calls
    assert (writes.dtype, writes.numblocks, writes.shape) == (np.uint8, (3, 3), (3, 3))
    np.testing.assert_array_equal(writes.compute(), np.ones((3, 3), np.uint8))
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES + 1)


def test_computing_and_writing_a_block_are_one_task(tmp_path: Path) -> None:
    x = da.random.default_rng(1).random((6, 9), chunks=(2, 3))
    for number, computed in enumerate([x + 1, Flaky().array().map_blocks(np.negative)]):
        writes = storage.save(computed, tmp_path / str(number), compute=False)
        (optimized,) = dask.optimize(writes)
        assert sum(isinstance(node, Task) for node in dict(optimized.dask).values()) == 9


def test_resuming_computes_only_what_is_missing(tmp_path: Path) -> None:
    flaky = Flaky(fails_at=(1, 1))
    with pytest.raises(RuntimeError, match="the power went"):
        storage.save(flaky.array(), tmp_path / "a")
    done = set(flaky.calls) - {(1, 1)}
    assert done
    with pytest.raises(StorageError, match=f"{9 - len(done)} of 9 blocks are not written"):
        storage.open(tmp_path / "a")
    storage.save(flaky.array(), tmp_path / "a", resume=True)
    assert flaky.calls == {**dict.fromkeys(np.ndindex(3, 3), 1), (1, 1): 2}
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES + 1)


def test_resuming_what_is_complete_computes_nothing(tmp_path: Path) -> None:
    flaky = Flaky()
    storage.save(flaky.array(), tmp_path / "a")
    writes = storage.save(flaky.array(), tmp_path / "a", resume=True, compute=False)
    assert writes is not None
    assert writes.compute().all()
    assert set(flaky.calls.values()) == {1}


def test_resuming_what_is_not_there_begins(tmp_path: Path) -> None:
    storage.save(Flaky().array(), tmp_path / "a", resume=True)
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES + 1)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"short")])
def test_resuming_mends_damaged_chunk_files(tmp_path: Path, damage: Any) -> None:
    flaky = Flaky()
    storage.save(flaky.array(), tmp_path / "a")
    damage(tmp_path / "a" / "c" / "1" / "2")
    storage.save(flaky.array(), tmp_path / "a", resume=True)
    assert flaky.calls == {**dict.fromkeys(np.ndindex(3, 3), 1), (1, 2): 2}
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES + 1)


@pytest.mark.parametrize(
    ("other", "token", "message"),
    [
        (VALUES[:4], "t", r"shape \(6, 9\), but this array has \(4, 9\)"),
        (VALUES.astype("f4"), "t", "dtype <f8, but this array has <f4"),
        (VALUES, "u", "token t, but this array has u"),
    ],
)
def test_another_computation_does_not_resume(tmp_path: Path, other: Any, token: str, message: str) -> None:
    storage.save(da.from_array(VALUES, chunks=(2, 3)), tmp_path / "a", token="t")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(StorageError, match=f"was begun with {message}: .*overwrite=True"):
        storage.save(da.from_array(other, chunks=(2, 3)), tmp_path / "a", resume=True, token=token)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_other_chunks_resume_the_blocks_that_were_begun(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the power went"):
        storage.save(Flaky(fails_at=(1, 1)).array(), tmp_path / "a", token="t")
    begun = records.read_save(tmp_path / "a")
    assert begun is not None
    done = {file: file.stat().st_mtime_ns for file in (tmp_path / "a" / "c").rglob("*") if file.is_file()}
    assert done
    storage.save(da.from_array(VALUES + 1, chunks=(3, 9)), tmp_path / "a", resume=True, token="t")
    assert records.read_save(tmp_path / "a") == begun
    assert {file: file.stat().st_mtime_ns for file in done} == done
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES + 1)


class Named(MaterializedLayer):
    """A layer whose array has another name on each machine, but is the same computation."""

    computation = "product-of-a-and-b"


def planned(name: str, chunks: tuple[int, int]) -> da.Array:
    x = da.from_array(VALUES, chunks=chunks)
    layer = Named({(name, *key[1:]): Alias((name, *key[1:]), key) for key in flatten(x.__dask_keys__())})
    return da.Array(HighLevelGraph.from_collections(name, layer, [x]), name, x.chunks, meta=x._meta)


def test_the_token_is_what_the_operation_says_of_itself(tmp_path: Path) -> None:
    storage.save(planned("small-tiles", (2, 3)), tmp_path / "a")
    assert records.read_save(tmp_path / "a").token == "product-of-a-and-b"
    (tmp_path / "a" / "c" / "1" / "2").unlink()
    storage.save(planned("large-tiles", (6, 3)), tmp_path / "a", resume=True)
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES)


def test_the_token_is_the_array_s_name_unless_given(tmp_path: Path) -> None:
    storage.save(da.from_array(VALUES, chunks=(2, 3)), tmp_path / "a")
    with pytest.raises(StorageError, match="was begun with token"):
        storage.save(da.from_array(VALUES + 1, chunks=(2, 3)), tmp_path / "a", resume=True)


def test_a_store_of_another_program_does_not_resume(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=(6, 9), dtype="f8")[:] = VALUES
    with pytest.raises(StorageError, match="no records of osp.save to resume from"):
        storage.save(da.from_array(VALUES), tmp_path / "a", resume=True)


def test_a_task_of_a_replaced_save_writes_nothing(tmp_path: Path) -> None:
    stale = storage.save(da.from_array(VALUES, chunks=(2, 3)), tmp_path / "a", compute=False)
    storage.save(da.from_array(-VALUES, chunks=(2, 3)), tmp_path / "a", overwrite=True)
    assert stale is not None
    with pytest.raises(StorageError, match=r"block \(\d, \d\) of .* belongs to another save"):
        stale.compute()
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), -VALUES)


def test_an_array_is_not_overwritten_by_what_is_computed_from_it(tmp_path: Path) -> None:
    storage.save(da.from_array(VALUES, chunks=(2, 3)), tmp_path / "a")
    os.symlink(tmp_path / "a", tmp_path / "link")
    for source in ("a", "link"):
        with pytest.raises(UsageError, match="is computed from .*/a, which it would overwrite"):
            storage.save(storage.open(tmp_path / source) + 1, tmp_path / "a", overwrite=True)
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES)


FOREIGN = {
    "from_zarr": da.from_zarr,
    "from_array": lambda path: da.from_array(zarr.open_array(path, mode="r"), chunks=2),
    "in a group": lambda path: da.from_zarr(str(path.parent), component=path.name),
}


@pytest.mark.parametrize("read", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("optimized", [False, True])
def test_nor_by_what_other_programs_read_from_it(tmp_path: Path, read: Any, optimized: bool) -> None:
    zarr.create_group(tmp_path / "group")
    path = tmp_path / "group" / "a"
    storage.save(da.from_array(VALUES, chunks=(2, 3)), path)
    doubled = read(path) * 2
    if optimized:
        (doubled,) = dask.optimize(doubled)
    with pytest.raises(UsageError, match="is computed from .*/a, which it would overwrite"):
        storage.save(doubled, path, overwrite=True)
    np.testing.assert_array_equal(storage.open(path).compute(), VALUES)
    storage.save(doubled, tmp_path / "b")
    storage.save(doubled + 1, tmp_path / "b", overwrite=True)
    np.testing.assert_array_equal(storage.open(tmp_path / "b").compute(), VALUES * 2 + 1)


def test_both_ways_out_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="resume=True keeps .* overwrite=True replaces"):
        storage.save(da.ones(3), tmp_path / "a", resume=True, overwrite=True)


@pytest.mark.parametrize("dtype", [object, [("a", "f8")]])
def test_dtypes_that_cannot_be_stored(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(DTypeError, match="cannot be stored"):
        storage.save(da.zeros(3, chunks=3, dtype=dtype), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_dtypes_that_zarr_lacks(tmp_path: Path) -> None:
    with pytest.raises(DTypeError, match=r"Zarr cannot store .*f16 elements"):
        storage.save(da.zeros(3, chunks=3, dtype=np.longdouble), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_unknown_chunk_sizes(tmp_path: Path) -> None:
    x = da.arange(10, chunks=5)
    with pytest.raises(ArrayError, match="compute_chunk_sizes"):
        storage.save(x[x > 3], tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_blocks_that_are_not_what_the_array_says(tmp_path: Path) -> None:
    x = da.ones((4, 4), chunks=2)
    with pytest.raises(ArrayError, match=r"has shape \(1, 2\), where the array's chunks say \(2, 2\)"):
        storage.save(x.map_blocks(lambda block: block[:1], meta=x._meta), tmp_path / "a")
    with pytest.raises(DTypeError, match="has complex128 elements, where the array says float64"):
        storage.save(x.map_blocks(lambda block: block * 1j, meta=x._meta), tmp_path / "b")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records, "write_record", fail)
    with pytest.raises(StorageError, match=r"block \(0,\) of .* cannot be written: No space left on device"):
        storage.save(da.ones(3, chunks=3), tmp_path / "a")


PROGRAM = """
import sys, dask, dask.array as da
from overspill import storage

left = int(sys.argv[2])

def block(block_id=None):
    global left
    print(*block_id, flush=True)
    if left == 0:
        sys.stdin.read()
    left -= 1
    return da.full(2**15, float(block_id[0])).compute(scheduler="synchronous")

x = da.map_blocks(block, chunks=((2**15,) * 40,), dtype="f8", name="x")
with dask.config.set(scheduler="synchronous"):
    storage.save(x, sys.argv[1], resume=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_kill_9_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "a"
    command = [sys.executable, "-c", PROGRAM, str(path)]
    for seen, at_most in ((3, 10), (1, 20)):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([*command, str(at_most)], env=environment(), **pipes) as process:
            for _ in range(seen):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        save = records.read_save(path)
        assert save is not None
        done = records.recorded(path, save)
        assert 0 < len(done) <= 30
        assert records.intact(path, save) == done
        for block_id in done:
            assert set(np.fromfile(records.chunk_file(path, block_id))) == {block_id[0]}
    finished = subprocess.run([*command, "40"], capture_output=True, text=True, env=environment(), timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stdout.split()) == 40 - len(done)
    np.testing.assert_array_equal(storage.open(path).compute(), np.repeat(np.arange(40.0), 2**15))
