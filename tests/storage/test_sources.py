"""Finding the stores that a computation reads, wherever in its graph they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import pytest
from dask.highlevelgraph import HighLevelGraph

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


def test_no_store() -> None:
    assert stores_read((da.ones((4, 4), chunks=2) + 1).dask) == set()
