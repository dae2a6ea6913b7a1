"""The wind workflow: a small file with known winds, the real one where it is, and files that are not what is asked."""

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from scipy.io import netcdf_file

from overspill.cluster import Cluster
from overspill.errors import UsageError, WorkflowError
from overspill.runs import ground, params, session, workflow
from runs.watched import Watched

xr = pytest.importorskip("xarray")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
ERA_INTERIM = ROOT.parent / "shared" / "data" / "eraint_uvz.nc"

LOADED = workflow.load(ROOT / "workflows" / "wind.py")

SCALE, OFFSET, MISSING = np.float64(-0.002), np.float64(10), np.int16(-32000)

MONTHS = np.array([1, 7, *range(101, 139)], np.int32)

LATITUDES = np.array([90, 60, 30, 0, -30, -60, -90], np.float32)


def packed_winds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.integers(-20000, 30000, (2, 3, 7, 12)).astype(np.int16) for name in ("u", "v")}


def written(
    path: Path, winds: dict[str, np.ndarray], *, of_axes: dict[str, dict[str, Any]] | None = None, **attributes: Any
) -> Path:
    axes = {
        "month": (MONTHS[: len(winds["u"])], ""),
        "level": (np.array([200, 500, 850], np.int32), "millibars"),
        "latitude": (LATITUDES, "degrees_north"),
        "longitude": (np.arange(0, 360, 30, dtype=np.float32), "degrees_east"),
    }
    with netcdf_file(path, "w") as file:
        for name, (values, units) in axes.items():
            file.createDimension(name, len(values))
            variable = file.createVariable(name, values.dtype, (name,))
            variable[:] = values
            for key, value in (({"units": units} if units else {}) | (of_axes or {}).get(name, {})).items():
                setattr(variable, key, value)
        for name, numbers in winds.items():
            variable = file.createVariable(name, numbers.dtype, tuple(axes)[: numbers.ndim])
            variable[:] = numbers
            for key, value in attributes.items():
                setattr(variable, key, value)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return written(tmp_path / "small.nc", packed_winds(), scale_factor=SCALE, add_offset=OFFSET)


def built(source: Path, **settings: str) -> dict[str, Any]:
    """The arrays of the dataset, computed."""
    outputs = workflow.build(LOADED, params.parse(LOADED.Params, {"source": str(source), **settings}))
    arrays = dask.compute(*outputs.arrays.values())
    return {name.partition("/")[2]: x for name, x in zip(outputs.arrays, arrays, strict=True)}


def mean_speeds(source: Path) -> np.ndarray:
    """By SciPy and NumPy alone, in double precision."""
    with netcdf_file(source, mmap=False) as file:
        u, v = (
            file.variables[name].data * float(file.variables[name].scale_factor) + file.variables[name].add_offset
            for name in ("u", "v")
        )
        weights = np.cos(np.radians(file.variables["latitude"].data.astype(np.float64)))
    return np.average(np.sqrt(u**2 + v**2).mean(axis=3), axis=2, weights=weights)


def test_values(small: Path) -> None:
    wind = built(small)
    u, v = (numbers * SCALE + OFFSET for numbers in packed_winds().values())
    np.testing.assert_allclose(wind["speed"], np.hypot(u, v), rtol=1e-6)
    np.testing.assert_allclose(wind["kinetic_energy"], (u**2 + v**2) / 2, rtol=1e-6)
    np.testing.assert_allclose(wind["direction"], (270 - np.degrees(np.arctan2(v, u))) % 360, rtol=1e-6)
    np.testing.assert_allclose(wind["mean_speed"], mean_speeds(small), rtol=1e-7)
    assert wind["speed"].dtype == wind["direction"].dtype == wind["kinetic_energy"].dtype == np.float32


def test_directions_are_those_the_wind_comes_from() -> None:
    directions = {(0, -5): 360, (5, 5): 225, (-5, 0): 90, (0, 5): 180, (5, 0): 270, (-5, -5): 45, (0, 0): 0}
    u, v = (np.array(part, np.int16) for part in zip(*directions, strict=True))
    _, direction, _ = LOADED.build.__globals__["describe"](u, v, {}, {})
    assert direction.tolist() == list(directions.values())


def test_a_cell_without_wind_counts_in_no_mean(tmp_path: Path) -> None:
    winds = packed_winds()
    winds["u"][0, 0, 2, 3] = winds["v"][0, 1, 4] = MISSING
    winds["u"][1, 2] = MISSING
    source = written(tmp_path / "gaps.nc", winds, scale_factor=SCALE, add_offset=OFFSET, _FillValue=MISSING)
    wind = built(source)
    known = (winds["u"] != MISSING) & (winds["v"] != MISSING)
    for name in ("speed", "direction", "kinetic_energy"):
        assert np.array_equal(np.isnan(wind[name]), ~known)
    u, v = (numbers * SCALE + OFFSET for numbers in winds.values())
    weights = known * np.cos(np.radians(LATITUDES.astype(np.float64)))[:, None]
    total = weights.sum((2, 3))
    assert (total == 0).tolist() == [[False] * 3, [False, False, True]]
    expected = (np.hypot(u, v) * weights).sum((2, 3)) / np.where(total > 0, total, np.nan)
    np.testing.assert_allclose(wind["mean_speed"], expected, rtol=1e-7)


def test_tiles_repeat_the_file(small: Path) -> None:
    once, thrice = built(small), built(small, tile="3")
    for name in ("speed", "direction", "kinetic_energy", "mean_speed", "month"):
        np.testing.assert_array_equal(thrice[name], np.concatenate([once[name]] * 3))
    np.testing.assert_array_equal(thrice["latitude"], once["latitude"])


@pytest.fixture
def on_two_workers(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "started", lambda *arguments: contextlib.nullcontext(two_workers))


def ran(source: Path, run: Path, **settings: str) -> bool:
    values = params.parse(LOADED.Params, {"source": str(source), **settings})
    report = session.start(session.Job(LOADED, values, None), run, Watched())
    assert report.files == (run / "map.png",)
    assert report.stores == (run / "wind.zarr",)
    return report.passed


@pytest.mark.usefixtures("on_two_workers")
def test_a_run_is_a_dataset_a_table_and_a_map(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(small, tmp_path / "run", tile="2", level="850")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Winds of small.nc, tiled: the file repeated 2 times along time"
    rows = [line.split() for line in lines[-2:]]
    assert [row[0] for row in rows] == ["1", "7"]
    np.testing.assert_allclose(np.array(rows, float)[:, 1:], mean_speeds(small), atol=1e-6)
    assert (tmp_path / "run" / "map.png").read_bytes().startswith(b"\x89PNG")
    with xr.open_zarr(tmp_path / "run" / "wind.zarr", consolidated=False) as wind:
        assert wind.title == lines[0]
        assert wind.Conventions == "CF-1.11"
        assert wind.speed.dims == ("month", "level", "latitude", "longitude")
        assert wind.month.values.tolist() == [1, 7, 1, 7]
        assert wind.level.attrs == {"units": "millibars"}
        assert wind.latitude.attrs == {"units": "degrees_north", "standard_name": "latitude"}
        assert wind.speed.attrs == {"standard_name": "wind_speed", "long_name": "wind speed", "units": "m s-1"}
        assert wind.direction.standard_name == "wind_from_direction"
        assert wind.mean_speed.cell_methods == "area: mean"
        np.testing.assert_allclose(wind.mean_speed[2:], mean_speeds(small), rtol=1e-7)


@pytest.mark.skipif(not ERA_INTERIM.exists(), reason="needs shared/data/eraint_uvz.nc beside the repository")
@pytest.mark.usefixtures("on_two_workers")
def test_era_interim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(ERA_INTERIM, tmp_path / "run")
    printed = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[-2:]]
    np.testing.assert_allclose(np.array(printed, float), mean_speeds(ERA_INTERIM), rtol=1e-6)


def test_the_check_sees_what_is_wrong(small: Path) -> None:
    values = params.parse(LOADED.Params, {"source": str(small)})
    wind = LOADED.build(values)["wind"].compute()
    assert [check.passed for check in workflow.check(LOADED, values, {"wind": wind})] == [True, True, True]
    for name, verdict in (
        ("mean_speed", [False, True, True]),
        ("direction", [True, False, True]),
        ("kinetic_energy", [True, True, False]),
    ):
        for change in (lambda x: x * 1.001, lambda x: x.where(x.level != 500)):
            wrong = wind.assign({name: change(wind[name])})
            assert [check.passed for check in workflow.check(LOADED, values, {"wind": wrong})] == verdict


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"u": "w"}, r"small\.nc has no variable 'w': it has u, v, flat; name another with --set u=NAME"),
        ({"v": "flat"}, r"u of .* has the axes .*, flat \(.*\): they must have the same four"),
        ({"level": "300"}, "has no level 300: set level= to one of 200, 500, 850"),
        ({"month": "2"}, "has no month 2: set month= to one of 1, 7"),
    ],
)
def test_what_the_file_does_not_have(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    winds = packed_winds()
    source = written(tmp_path / "small.nc", winds | {"flat": winds["u"][:, :, 0, 0]}, scale_factor=1.0, add_offset=0.0)
    with pytest.raises(WorkflowError, match=message):
        built(source, **settings)


def test_axes_in_another_order(tmp_path: Path) -> None:
    source = written(tmp_path / "turned.nc", packed_winds(), scale_factor=SCALE, add_offset=OFFSET)
    with xr.open_dataset(source, mask_and_scale=False) as winds:
        winds.transpose("month", "level", "longitude", "latitude").to_netcdf(tmp_path / "turned2.nc", engine="scipy")
    with pytest.raises(WorkflowError, match="longitude beyond 90: the third axis must be latitude in degrees"):
        built(tmp_path / "turned2.nc")


def test_axes_that_are_packed_or_say_what_is_missing(tmp_path: Path) -> None:
    packed = {"scale_factor": np.float64(0.5), "_FillValue": np.float32(9.96921e36)}
    source = written(tmp_path / "packed.nc", packed_winds(), of_axes={"latitude": packed, "level": {"_FillValue": -1}})
    wind = built(source)
    np.testing.assert_array_equal(wind["latitude"], LATITUDES / 2)
    np.testing.assert_array_equal(wind["level"], [200, 500, 850])
    u, v = packed_winds().values()
    speed = np.hypot(u.astype(float), v.astype(float)).mean(axis=3)
    expected = np.average(speed, axis=2, weights=np.cos(np.radians(LATITUDES / 2)))
    np.testing.assert_allclose(wind["mean_speed"], expected, rtol=1e-6)


def test_messages_stay_short(tmp_path: Path) -> None:
    winds = {name: np.tile(x, (20, 1, 1, 1)) for name, x in packed_winds().items()}
    source = written(tmp_path / "long.nc", winds)
    with pytest.raises(WorkflowError, match=r"has no month 0: set month= to one of 40, from 1 to 138$"):
        built(source, month="0")


def test_times_that_cannot_be_read(tmp_path: Path) -> None:
    months = {"units": "days since 2000-01-01", "calendar": "lunar"}
    source = written(tmp_path / "moon.nc", packed_winds(), of_axes={"month": months})
    with pytest.raises(WorkflowError, match=r"moon\.nc cannot be read .*unable to decode time units .*lunar"):
        built(source)


def test_no_netcdf(tmp_path: Path, small: Path) -> None:
    (tmp_path / "text.nc").write_text("no winds\n")
    with pytest.raises(WorkflowError, match=r"text\.nc cannot be read as NetCDF 3 .*: pip install h5netcdf"):
        built(tmp_path / "text.nc")
    shutil.copy(small, tmp_path / "short.nc")
    (tmp_path / "short.nc").write_bytes(small.read_bytes()[:100])
    with pytest.raises(WorkflowError, match=r"short\.nc cannot be read as NetCDF 3"):
        built(tmp_path / "short.nc")
    with pytest.raises(UsageError, match="does not exist"):
        built(tmp_path / "gone.nc")
    with pytest.raises(UsageError, match="tile=0 leaves nothing of the file"):
        built(small, tile="0")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(WorkflowError, match=r"xarray, which is not installed: pip install '\.\[examples\]'"):
        workflow.load(LOADED.path)
