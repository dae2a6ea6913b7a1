"""Datasets are stored as other readers expect them, and come back as they were; what cannot be stored is refused."""

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

from overspill import storage
from overspill.errors import WorkflowError
from overspill.runs.directory import RunDirectory
from overspill.runs.outputs import Outputs, put_together, scalars, take_apart
from overspill.storage.group import make_group

xr = pytest.importorskip("xarray")


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def dataset() -> Any:
    return xr.Dataset(
        {
            "speed": (
                ("time", "place"),
                da.from_array(np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]]), chunks=(1, 3)),
                {"units": "m s-1", "valid_range": np.array([0, 9], np.int32)},
            ),
            "count": ((), da.asarray(np.int64(5))),
        },
        coords={
            "time": ("time", np.array(["2020-01-01", "2020-01-03"], "datetime64[ns]")),
            "place": ("place", np.array([3, 1, 2], np.int32)),
            "height": ("place", np.array([10.0, 20.0, 30.0], np.float32), {"units": "m"}),
        },
        attrs={"title": "winds", "edition": np.int32(2)},
    )


def stored(outputs: Outputs, run: Path) -> dict[str, Any]:
    directory = RunDirectory(run)
    for name, attributes in outputs.datasets.items():
        make_group(directory.array(name), attributes)
    for name, x in outputs.arrays.items():
        labels = outputs.labels.get(name)
        given = {"dims": labels.dims, "attributes": labels.attributes} if labels else {}
        storage.save(x, directory.array(name), **given)
    return put_together(outputs, {name: storage.open(directory.array(name)) for name in outputs.arrays})


def test_a_dataset_comes_back_and_xarray_reads_it(tmp_path: Path) -> None:
    outputs = take_apart({"wind": dataset(), "total": da.asarray(np.float64(7))}, "build", "some.py")
    assert set(outputs.arrays) == {"total", "wind/speed", "wind/count", "wind/time", "wind/place", "wind/height"}
    results = stored(outputs, tmp_path)
    assert scalars(results) == {"total": 7.0}
    xr.testing.assert_identical(results["wind"], dataset())
    assert results["wind"].speed.chunks == ((1, 1), (3,))
    with xr.open_zarr(tmp_path / "wind.zarr", consolidated=False) as read:
        xr.testing.assert_identical(read, dataset())


def test_how_a_file_had_it_is_left_out(tmp_path: Path) -> None:
    x = dataset()
    x.speed.encoding = {"dtype": "int16", "scale_factor": 0.5, "_FillValue": -1}
    x.place.attrs["_FillValue"] = x.height.attrs["missing_value"] = np.float64("nan")
    results = stored(take_apart({"wind": x}, "build", "some.py"), tmp_path)
    xr.testing.assert_identical(results["wind"], dataset())


def test_paths(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    assert directory.array("C") == tmp_path / "C.zarr"
    assert directory.array("wind/speed") == tmp_path / "wind.zarr" / "speed"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"a b": ("x", np.arange(3))}, "names a result 'a b'"),
        ({"u": ("x", np.arange(3), {"_FillValue": -999})}, "'some/u' has the _FillValue -999: put NaN in its place"),
        ({"u": ("x", np.array(["a"]), {"_FillValue": ""})}, "'some/u' has the _FillValue : put NaN in its place"),
        ({"u": ("x", np.arange(3), {"day": np.datetime64("2020-01-01")})}, "'some/u' whose attributes=.* are not JSON"),
        ({"t": ("x", np.array(["2020-01-01"], "M8[ns]"), {"units": "days"})}, "'some' that cannot be stored .*'units'"),
        ({}, "some.py returns datasets without variables"),
        ({"words": ("x", np.array(["a", None, "b"], object))}, "'some/words' with object elements"),
    ],
)
def test_variables_that_cannot_be_stored(variables: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        take_apart({"some": xr.Dataset(variables)}, "build", "some.py")


def test_attributes_that_cannot_be_stored() -> None:
    with pytest.raises(WorkflowError, match=r"'some' whose attributes=.* 'x': nan\} are not JSON"):
        take_apart({"some": dataset().assign_attrs(x=np.nan)}, "build", "some.py")


def test_what_xarray_has_besides_datasets() -> None:
    with pytest.raises(WorkflowError, match=r"returns a DataArray as 'x': it must be .* or an xarray\.Dataset"):
        take_apart({"x": xr.DataArray(np.ones(3))}, "build", "some.py")
