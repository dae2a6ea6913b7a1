"""Names of axes and attributes: what other readers find beside the elements."""

import json
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr

from overspill import storage
from overspill.errors import StorageError, UsageError
from overspill.storage.group import make_group

X = da.from_array(np.arange(12.0).reshape(3, 4), chunks=(1, 4))


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def test_labels_are_in_the_store(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "a", dims=("y", "x"), attributes={"units": "m", "levels": [1, 2.5]})
    stored = zarr.open_array(tmp_path / "a", mode="r")
    assert stored.metadata.dimension_names == ("y", "x")  # type: ignore[union-attr]
    assert dict(stored.attrs) == {"units": "m", "levels": [1, 2.5]}
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), X.compute())


def test_no_labels_unless_given(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "a")
    metadata = json.loads((tmp_path / "a" / "zarr.json").read_text())
    assert "dimension_names" not in metadata
    assert metadata["attributes"] == {}


def test_overwriting_replaces_them_and_resuming_keeps_them(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "a", attributes={"units": "m"})
    storage.save(X, tmp_path / "a", attributes={"units": "km"}, resume=True)
    assert dict(zarr.open_array(tmp_path / "a").attrs) == {"units": "m"}
    storage.save(X, tmp_path / "a", attributes={"units": "km"}, overwrite=True)
    assert dict(zarr.open_array(tmp_path / "a").attrs) == {"units": "km"}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"dims": ("y",)}, "do not name the array's 2 axes: pass 2 different names"),
        ({"dims": ("y", "y")}, "do not name the array's 2 axes"),
        ({"dims": "yx"}, "do not name the array's 2 axes"),
        ({"attributes": {"x": np.arange(3)}}, "are not JSON .*: use text, finite numbers and lists"),
        ({"attributes": {"x": float("nan")}}, "are not JSON"),
    ],
)
def test_labels_that_no_store_can_have(tmp_path: Path, labels: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        storage.save(X, tmp_path / "a", **labels)
    assert list(tmp_path.iterdir()) == []


def test_a_group_holds_arrays(tmp_path: Path) -> None:
    make_group(tmp_path / "g", {"title": "two"})
    for name in ("a", "b"):
        storage.save(X, tmp_path / "g" / name, dims=("y", "x"))
    make_group(tmp_path / "g", {"history": "made twice"})
    group = zarr.open_group(tmp_path / "g", mode="r")
    assert dict(group.attrs) == {"title": "two", "history": "made twice"}
    assert sorted(name for name, _ in group.arrays()) == ["a", "b"]


def test_what_is_no_group(tmp_path: Path) -> None:
    storage.save(X, tmp_path / "a")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="attributes={'x': nan} are not JSON"):
        make_group(tmp_path / "new", {"x": float("nan")})
    assert not (tmp_path / "new").exists()
    with pytest.raises(StorageError, match="is no readable Zarr group"):
        make_group(tmp_path / "a", {})
    with pytest.raises(StorageError, match="cannot be written"):
        make_group(tmp_path / "file", {})
    assert (tmp_path / "file").read_text() == "mine"
