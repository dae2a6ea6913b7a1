"""A photograph developed: denoised, sharpened and brightened in linear light, chunk by chunk and without seams.

The photograph is a mosaic of images that ship with scikit-image, repeated to any size. Each chunk goes to a GPU, where
there are any, with as much of its neighbours as the filters reach, and comes back as one task.
"""

import importlib
import itertools
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np

import overspill as osp

try:
    from matplotlib.figure import Figure
    from skimage import color, data, filters
except ModuleNotFoundError as error:
    raise osp.WorkflowError(
        f"workflows/image.py takes pictures and draws with {error.name}, which is not installed: "
        "pip install '.[examples]'"
    ) from None

LARGEST_RADIUS = 8.0

SMALLEST_SIDE = 64
"""Of the picture and of a chunk, in pixels: filters reach half as far."""

MOST_CHUNKS = 50_000


@dataclass(frozen=True)
class Params:
    """Parameters of the picture and its development."""

    height: int = 1200
    """Pixels."""

    width: int = 1792
    """Pixels."""

    chunk: int = 512
    """Pixels of a chunk's sides."""

    noise: float = 0.7
    """Standard deviation, in pixels, of the Gaussian that takes the noise away."""

    radius: float = 2.0
    """Standard deviation, in pixels, of the blur that sharpening compares with."""

    amount: float = 0.5
    """How much of the difference from that blur is added."""

    lift: float = 0.8
    """How much shadows are brightened; 0 leaves brightness as it is."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    def __post_init__(self) -> None:
        for name in ("height", "width", "chunk"):
            if (value := getattr(self, name)) < SMALLEST_SIDE:
                raise ValueError(f"{name}={value} is too small for the filters: take {SMALLEST_SIDE} pixels or more")
        if not 0 <= self.noise <= self.radius <= LARGEST_RADIUS:
            raise ValueError(
                f"noise={self.noise:g} and radius={self.radius:g} must be in order, 0 ≤ noise ≤ radius ≤ "
                f"{LARGEST_RADIUS:g}"
            )
        if not (0 <= self.amount < math.inf and 0 <= self.lift < math.inf):
            raise ValueError(f"amount={self.amount:g} and lift={self.lift:g} must be 0 or more")
        if self.height * self.width > MOST_CHUNKS * self.chunk**2:
            least = math.ceil(math.sqrt(self.height * self.width / MOST_CHUNKS))
            raise ValueError(
                f"chunk={self.chunk} cuts the picture into more than {MOST_CHUNKS:,} chunks: take {least} or more"
            )

    @property
    def reach(self) -> int:
        """Pixels from which a filter takes something: where SciPy cuts its Gaussians off."""
        return int(4 * self.radius + 0.5)


@osp.elementwise
def linearise(pixels):
    """Light from sRGB, by IEC 61966-2-1."""
    value = pixels.astype(np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def sharpen(light, noise, radius, amount):
    """Less noise, and more of what differs from the surroundings: unsharp masking."""
    ndimage = importlib.import_module("scipy.ndimage" if isinstance(light, np.ndarray) else "cupyx.scipy.ndimage")
    smooth, blurred = (ndimage.gaussian_filter(light, (sigma, sigma, 0)) for sigma in (noise, radius))
    return smooth + np.float32(amount) * (smooth - blurred)


@osp.elementwise
def develop(light, lift):
    """A tone curve from 0 to 1, and sRGB."""
    light = np.clip(light, 0, 1)
    light = light * (1 + lift) / (1 + light * lift)
    value = np.where(light <= 0.0031308, light * 12.92, light ** (1 / 2.4) * 1.055 - 0.055)
    return np.rint(value * 255).astype(np.uint8)


def build(params: Params) -> dict[str, da.Array]:
    depth = {0: params.reach, 1: params.reach, 2: 0}
    boundary = {0: "reflect", 1: "reflect", 2: "none"}
    # The pixels that chunks share are exchanged as bytes on the host; all that follows is one task a chunk.
    padded = da.overlap.overlap(picture(params), depth, boundary)
    light = linearise(osp.to_device(padded))
    sharp = da.map_blocks(sharpen, light, params.noise, params.radius, params.amount, meta=light._meta)
    return {"image": osp.to_host(develop(da.overlap.trim_internal(sharp, depth, boundary), params.lift))}


def check(params: Params, results: dict) -> osp.Check:
    """Where chunks meet, against what scikit-image makes of the surroundings in double precision."""
    image, before = results["image"], picture(params)
    edges = [np.cumsum(sizes) for sizes in before.chunks[:2]]
    chosen = [bounds[np.unique(np.linspace(0, len(bounds) - 1, 3).astype(int))] for bounds in edges]
    worst = 0
    for corner in itertools.product(*chosen):
        inner, outer = (around(corner, before.shape, margin) for margin in (32, 32 + params.reach))
        right = reference(before[outer].compute(), params)
        within = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
        difference = image[inner].compute().astype(int) - right[within]
        worst = max(worst, int(np.abs(difference).max()))
    count = len(chosen[0]) * len(chosen[1])
    summary = f"pixels at {count} corners of chunks differ from scikit-image's by {worst} of 255 at most"
    return osp.Check(worst <= 1, summary, worst, 1)


def present(params: Params, results: dict, directory: Path) -> list[Path]:
    """A mosaic before and after, and a part of it enlarged."""
    figure = Figure(figsize=(12, 8.4), dpi=120, layout="constrained")
    axes = figure.subplots(2, 2)
    height, width = mosaic().shape[:2]
    for column, (when, x) in enumerate({"before": picture(params), "after": results["image"]}.items()):
        whole = x[:height, :width].compute()
        rows, columns = whole.shape[:2]
        eye = whole[rows * 8 // 15 : rows * 47 // 60, columns // 9 : columns * 13 // 36]
        for row, (what, part) in enumerate({"": whole, ", enlarged": eye}.items()):
            axes[row, column].imshow(part, interpolation="nearest")
            axes[row, column].set_title(f"{when}{what}")
            axes[row, column].set_axis_off()
    pixels = f"{params.height:,} × {params.width:,} pixels"
    figure.suptitle(f"The first mosaic of a picture of {pixels}: denoised, sharpened and brightened in linear light")
    figure.savefig(directory / "preview.png")
    return [directory / "preview.png"]


def mosaic() -> np.ndarray:
    """Four of scikit-image's samples, cropped to the same size."""
    portrait, coffee, cat, galaxies = (x() for x in (data.astronaut, data.coffee, data.chelsea, data.hubble_deep_field))
    upper = np.hstack([portrait[:300, 20:468], coffee[60:360, 90:538]])
    lower = np.hstack([cat[:, :448], galaxies[300:600, 300:748]])
    return np.vstack([upper, lower])


def picture(params: Params) -> da.Array:
    """The mosaic again and again, in chunks that one task each takes from it."""
    # Arrays of NumPy's make NumPy chunks, on clusters of GPUs too.
    tile = da.from_array(mosaic(), chunks=-1)
    rows, columns = (
        da.from_array(np.arange(size) % period, chunks=params.chunk)
        for size, period in zip((params.height, params.width), tile.shape, strict=False)
    )
    with warnings.catch_warnings():
        # A grid has more chunks than its sides, which Dask takes for an accident.
        warnings.simplefilter("ignore", da.PerformanceWarning)
        return da.blockwise(pick, "ijc", rows, "i", columns, "j", tile, "yxc", concatenate=True, dtype=tile.dtype)


def pick(rows, columns, tile):
    return tile[np.ix_(rows, columns)]


def around(corner: tuple[int, int], shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    return tuple(
        slice(max(0, place - margin), min(size, place + margin)) for place, size in zip(corner, shape, strict=False)
    )


def reference(pixels: np.ndarray, params: Params) -> np.ndarray:
    """The same development by scikit-image: filters are linear, so its XYZ colours serve as well as linear RGB."""
    light = color.rgb2xyz(pixels)
    smooth, blurred = (
        filters.gaussian(light, sigma, mode="reflect", channel_axis=-1) for sigma in (params.noise, params.radius)
    )
    to_rgb = np.linalg.inv(color.rgb2xyz(np.eye(3)[np.newaxis])[0])
    light = np.clip((smooth + params.amount * (smooth - blurred)) @ to_rgb, 0, 1)
    bright = light * (1 + params.lift) / (1 + light * params.lift)
    return np.rint(color.xyz2rgb(bright @ np.linalg.inv(to_rgb)) * 255).astype(int)
