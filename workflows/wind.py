"""Speed, direction and kinetic energy of winds from a NetCDF file, as a CF dataset, with area means and a map.

The file has the wind's components as variables of time, level, latitude and longitude, packed or not. Means are
weighted with the cosine of the latitude. `tile` repeats it along time, for scale; what is made of that is labelled so.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np

import overspill as osp

try:
    import xarray as xr
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise osp.WorkflowError(
        f"workflows/wind.py reads and draws with {error.name}, which is not installed: pip install '.[examples]'"
    ) from None

MOST_NAMES = 24
"""Of times or levels that a message or a table lists."""

WEIGHTED = "weighted with the cosine of the latitude"

MEANINGS = {
    "speed": ("wind_speed", "wind speed", "m s-1"),
    "direction": ("wind_from_direction", "where the wind comes from, clockwise from north; 0 if calm", "degree"),
    "kinetic_energy": ("specific_kinetic_energy_of_air", "kinetic energy per mass", "m2 s-2"),
    "mean_speed": ("wind_speed", f"mean wind speed, {WEIGHTED}", "m s-1"),
}
"""Standard name, long name and units of each result, in the words of the CF conventions."""


@dataclass(frozen=True)
class Params:
    """Parameters of the winds."""

    source: Path
    """The NetCDF file."""

    u: str = "u"
    """Its variable of the eastward wind, in m/s."""

    v: str = "v"
    """Its variable of the northward wind, in m/s."""

    tile: int = 1
    """How many times the file is repeated along time."""

    month: str | None = None
    """The time that the map shows, as the table of means names it; the first unless given."""

    level: str | None = None
    """The level that the map shows, likewise."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    def __post_init__(self) -> None:
        if self.tile < 1:
            raise ValueError(f"tile={self.tile} leaves nothing of the file: take 1 or more")


@osp.elementwise
def unpack(packed, attributes):
    """What a file's numbers stand for, by section 8.1 of the CF conventions."""
    values = packed * np.float64(attributes.get("scale_factor", 1)) + attributes.get("add_offset", 0)
    for missing in np.ravel([attributes[name] for name in ("_FillValue", "missing_value") if name in attributes]):
        if not np.isnan(missing):
            values = np.where(packed == missing, np.nan, values)
    return values


@osp.elementwise
def describe(u, v, u_attributes, v_attributes):
    """Speed, direction and kinetic energy per mass.

    Directions are those that the wind comes from, in degrees clockwise from north: above 0, up to 360, which is north.
    Where there is no wind it is 0. That is how weather services report it.
    """
    u, v = unpack(u, u_attributes), unpack(v, v_attributes)
    squares = u * u + v * v
    turned = np.degrees(np.arctan2(-u, -v))
    direction = np.where(squares == 0, 0.0, np.where(turned > 0, turned, turned + 360))
    return tuple(x.astype(np.float32) for x in (np.sqrt(squares), direction, squares / 2))


@osp.elementwise
def weigh(speed, weight):
    known = speed == speed
    return np.where(known, speed * weight, 0.0), np.where(known, weight, 0.0)


def build(params: Params) -> dict[str, xr.Dataset]:
    source = open_winds(params)
    chosen(params, source)  # refused here, not when all is computed
    u, v = source[params.u], source[params.v]
    packed = [osp.to_device(repeated(x.data, params.tile)) for x in (u, v)]
    speed, direction, energy = describe(*packed, u.attrs, v.attrs)
    weight = da.from_array(latitude_weights(source, u)[:, np.newaxis], chunks=-1)
    weighted, total = (osp.sum(x, axis=(2, 3)) for x in weigh(speed, weight))
    arrays = {
        "speed": osp.to_host(speed),
        "direction": osp.to_host(direction),
        "kinetic_energy": osp.to_host(energy),
        "mean_speed": osp.to_host(weighted / da.where(total > 0, total, np.nan)),
    }
    time, level, latitude, longitude = (source[axis] for axis in u.dims)
    coordinates = {time.name: (time.dims, np.tile(time.values, params.tile), time.attrs), level.name: level} | {
        x.name: x.assign_attrs(standard_name=name) for name, x in (("latitude", latitude), ("longitude", longitude))
    }
    attributes = {"Conventions": "CF-1.11", "title": title(params), "source": params.source.name}
    wind = xr.Dataset({name: (u.dims[: x.ndim], x) for name, x in arrays.items()}, coordinates, attributes)
    for name, meanings in MEANINGS.items():
        wind[name].attrs = dict(zip(("standard_name", "long_name", "units"), meanings, strict=True))
    wind.mean_speed.attrs["cell_methods"] = "area: mean"
    return {"wind": wind}


def check(params: Params, results: dict) -> list[osp.Check]:
    """Maps spread over the dataset against what NumPy makes of the winds that xarray unpacks."""
    wind = results["wind"]
    source = open_netcdf(params.source)
    u, v = source[params.u], source[params.v]
    weight = latitude_weights(source, u)[:, np.newaxis]
    times, levels = wind.mean_speed.shape
    maps = np.unique(np.linspace(0, times * levels - 1, 12).astype(int))
    errors = []
    for time, level in zip(*np.unravel_index(maps, (times, levels)), strict=True):
        east, north = (x[time % len(u), level].values.astype(np.float64) for x in (u, v))
        speed = np.hypot(east, north)
        known = ~np.isnan(speed)
        here = wind[{u.dims[0]: time, u.dims[1]: level}]
        blowing = -here.speed * np.exp(1j * np.radians(here.direction.astype(np.float64)))
        pairs = (
            (here.mean_speed, np.nansum(speed * weight) / (np.sum(known * weight) or np.nan)),
            (blowing, np.where(known, north + 1j * east, np.nan)),
            (here.kinetic_energy, speed**2 / 2),
        )
        errors.append([deviation(found.values, right) for found, right in pairs])
    names = ("mean speed", "speed and direction", "kinetic energy")
    return [
        osp.Check(error <= 1e-6, f"{name} of {len(maps)} maps right within {error:.1e}", error, 1e-6)
        for name, error in zip(names, np.max(errors, axis=0).tolist(), strict=True)
    ]


def present(params: Params, results: dict, directory: Path) -> list[Path]:
    wind, source = results["wind"], open_winds(params)
    means = wind.mean_speed[: len(source[params.u])].to_pandas()
    print(f"{title(params)}\nmean speed in m/s, {WEIGHTED}")
    print(means.to_string(float_format="{:.7f}".format, max_rows=MOST_NAMES))
    draw(wind[chosen(params, source)], wind.title).savefig(directory / "map.png")
    return [directory / "map.png"]


def open_netcdf(path: Path, **options) -> xr.Dataset:
    with warnings.catch_warnings():
        # ERA-Interim's files say that integers are NaN where they are missing: none is.
        warnings.simplefilter("ignore", xr.SerializationWarning)
        try:
            return xr.open_dataset(path.resolve(), **options)
        except Exception as error:  # readers raise whatever their parsers do
            raise osp.WorkflowError(
                f"{path} cannot be read as NetCDF 3 ({error!r:.250}); if it is NetCDF 4: pip install h5netcdf"
            ) from error


def open_winds(params: Params) -> xr.Dataset:
    """The file with its winds as they are packed, lazy, once it has shown to be what it is taken for."""
    source = open_netcdf(params.source, mask_and_scale={params.u: False, params.v: False})
    for option in ("u", "v"):
        if (name := getattr(params, option)) not in source.data_vars:
            names = ", ".join(map(str, source.data_vars))
            raise osp.WorkflowError(
                f"{params.source} has no variable {name!r}: it has {names}; name another with --set {option}=NAME"
            )
    dims = source[params.u].dims
    if len(dims) != 4 or source[params.v].dims != dims or not set(dims) <= set(source.coords):
        raise osp.WorkflowError(
            f"{params.u} of {params.source} has the axes {dims}, {params.v} {source[params.v].dims}: they must have "
            "the same four, time, level, latitude and longitude, each with its coordinates"
        )
    if not np.all(np.abs(source[dims[2]]) <= 90):
        raise osp.WorkflowError(f"{params.source} has {dims[2]} beyond 90: the third axis must be latitude in degrees")
    return source.chunk(dict(zip(dims, chunks(source[params.u].shape), strict=True)))


def chunks(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Chunks of whole maps."""
    return da.core.normalize_chunks(("auto", "auto", -1, -1), shape, limit="32MiB", dtype=np.float32)


def repeated(x: da.Array, times: int) -> da.Array:
    """`x`, `times` times along its first axis, in chunks of the usual size."""
    y = da.concatenate([x] * times)
    return y.rechunk(chunks(y.shape))


def latitude_weights(source: xr.Dataset, u: xr.DataArray) -> np.ndarray:
    return np.cos(np.radians(source[u.dims[2]].values.astype(np.float64)))


def title(params: Params) -> str:
    tiled = f", tiled: the file repeated {params.tile} times along time" if params.tile > 1 else ""
    return f"Winds of {params.source.name}{tiled}"


def chosen(params: Params, source: xr.Dataset) -> dict[str, int]:
    """Where along its axes the time and the level of the map lie."""
    places = {}
    for option, axis in zip(("month", "level"), source[params.u].dims[:2], strict=True):
        asked = getattr(params, option)
        names = source[axis].to_index().astype(str).tolist()
        if asked is not None and asked not in names:
            listed = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)}, from {names[0]} to {names[-1]}"
            raise osp.WorkflowError(f"{params.source} has no {axis} {asked}: set {option}= to one of {listed}")
        places[axis] = 0 if asked is None else names.index(asked)
    return places


def deviation(found: np.ndarray, right: np.ndarray) -> float:
    """The largest difference relative to the largest value; infinite if only one of both is missing somewhere."""
    known = ~np.isnan(right)
    if np.any(np.isnan(found) == known):
        return np.inf
    return float(np.max(np.abs(found - right)[known], initial=0) / max(np.max(np.abs(right[known]), initial=0), 1e-30))


def draw(wind: xr.Dataset, heading: str) -> Figure:
    """A map of speeds, with arrows that show where the wind blows."""
    y, x = wind.speed.dims
    figure = Figure(figsize=(11, 6), dpi=150, layout="constrained")
    axes = figure.add_subplot(aspect="equal", xlabel="longitude, degrees east", ylabel="latitude, degrees north")
    colours = axes.pcolormesh(wind[x], wind[y], wind.speed, shading="nearest", vmin=0)
    figure.colorbar(colours, label="wind speed, m/s", shrink=0.85)
    steps = {axis: max(1, wind.sizes[axis] // count) for axis, count in ((y, 18), (x, 36))}
    few = wind.isel({axis: slice(step // 2, None, step) for axis, step in steps.items()})
    angle = np.radians(few.direction)
    axes.quiver(few[x], few[y], -np.sin(angle), -np.cos(angle), color="white", pivot="mid", scale=50, width=0.0012)
    # Ten characters of a time are its day.
    places = [
        f"{name} {x.values!s:.10} {x.attrs.get('units', '')}".strip() for name, x in wind.mean_speed.coords.items()
    ]
    axes.set_title(f"{heading}\n{', '.join(places)}: area-weighted mean {float(wind.mean_speed):.2f} m/s", fontsize=10)
    return figure
