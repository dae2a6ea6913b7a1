"""Finding the stores that a computation reads, wherever in its graph they are."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import pytest
import zarr
from dask._task_spec import Task
from dask.highlevelgraph import HighLevelGraph
from zarr.storage import LocalStore, LoggingStore, MemoryStore

from overspill import storage
from overspill.storage.sources import stores_read


@pytest.fixture
def a(tmp_path: Path) -> da.Array:
    storage.save(da.ones((4, 4), chunks=2), tmp_path / "a")
    return storage.open(tmp_path / "a")


@dataclass(frozen=True)
class Recipe:
    graph: dict[Any, Any]


def test_stores_are_found(a: da.Array, tmp_path: Path) -> None:
    storage.save(da.ones((4, 4), chunks=2), tmp_path / "b")
    both = (a + storage.open(tmp_path / "b").T).sum(axis=0)
    assert stores_read(both.dask) == {str(tmp_path / "a"), str(tmp_path / "b")}


def test_stores_are_found_in_fused_tasks(a: da.Array, tmp_path: Path) -> None:
    (fused,) = dask.optimize((a + 1)[:2] * 2)
    assert stores_read(fused.dask) == {str(tmp_path / "a")}


def test_stores_are_found_in_graphs_that_tasks_carry(a: da.Array, tmp_path: Path) -> None:
    layer = {("c", 0): (len, [Recipe(dict(a.dask))])}
    graph = HighLevelGraph.from_collections("c", layer, dependencies=[])
    assert stores_read(graph) == {str(tmp_path / "a")}


def test_stores_of_zarr_itself_are_found_however_they_are_wrapped(a: da.Array, tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    opened = zarr.open_array(LoggingStore(LocalStore(path)), mode="r")
    assert stores_read(da.from_array(opened).dask) == {path}
    assert stores_read({"x": Task("x", partial(len, zarr.open_array(path, mode="r")))}) == {path}
    elsewhere = zarr.create_array(MemoryStore(), shape=(4, 4), dtype="f8")
    assert stores_read(da.from_array(elsewhere).dask) == set()


def test_no_store() -> None:
    assert stores_read((da.ones((4, 4), chunks=2) + 1).dask) == set()
