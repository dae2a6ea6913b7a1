"""y = sin²x + x·cos x of generated numbers, of a size that need not fit anywhere, with its statistics.

The numbers are made on the host, go through the GPUs, where there are any, and come back: one task a chunk.
"""

import math
from dataclasses import dataclass
from typing import Literal

import dask.array as da
import numpy as np
from scipy.integrate import quad

import overspill as osp

HALF_WIDTH = 10.0
"""The numbers are spread evenly from minus this to this."""

MOST_CHUNKS = 100_000

SAMPLED_CHUNKS = 8


@dataclass(frozen=True)
class Params:
    """Parameters of the transform."""

    size: osp.Nbytes = 256 * 2**20
    """Bytes of the numbers, and of the result."""

    dtype: Literal["float32", "float64"] = "float32"
    """Element type of both."""

    chunk: osp.Nbytes = 32 * 2**20
    """Bytes of a chunk."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    seed: int = 0
    """Of the random numbers."""

    def __post_init__(self) -> None:
        if self.size < self.itemsize:
            raise ValueError(f"size={self.size} holds no {self.dtype} number: take {self.itemsize} bytes or more")
        if self.chunk < self.itemsize:
            raise ValueError(f"chunk={self.chunk} holds no {self.dtype} number: take {self.itemsize} bytes or more")
        if self.size > MOST_CHUNKS * self.chunk:
            least = math.ceil(self.size / MOST_CHUNKS / 2**20)
            raise ValueError(f"size= cut by chunk= makes more than {MOST_CHUNKS:,} chunks: raise chunk to {least}MiB")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative: take 0 or more")

    @property
    def itemsize(self) -> int:
        """Bytes of a number."""
        return np.dtype(self.dtype).itemsize


@osp.elementwise
def wave(x):
    """The transform, as anyone would write it."""
    return np.sin(x) ** 2 + x * np.cos(x)


def build(params: Params) -> dict[str, da.Array]:
    # Statistics of what is stored anyway: of `wave`'s own result they would compute it again, each for itself.
    y = osp.to_host(wave(osp.to_device(numbers(params))))
    return {"y": y, "mean": osp.mean(y), "std": osp.std(y), "min": osp.min(y), "max": osp.max(y)}


def check(params: Params, results: dict) -> list[osp.Check]:
    return [check_samples(params, results), *check_moments(params, results)]


def check_samples(params: Params, results: dict) -> osp.Check:
    """Chunks spread over the whole, made again and transformed by NumPy in double precision."""
    x, y = numbers(params), results["y"]
    bounds = np.cumsum([0, *x.chunks[0]])
    chosen = np.unique(np.linspace(0, len(bounds) - 2, SAMPLED_CHUNKS).astype(int))
    error = 0.0
    within = True
    for start, stop in zip(bounds[chosen], bounds[chosen + 1], strict=True):
        before, after = (part[start:stop].compute().astype(np.float64) for part in (x, y))
        error = max(error, float(np.abs(after - wave.__wrapped__(before)).max()))
        within = within and bool(results["min"] <= after.min() and after.max() <= results["max"])
    bound = 4 * HALF_WIDTH * float(np.finfo(params.dtype).eps)
    return osp.Check(
        error <= bound and within,
        f"{len(chosen)} of {x.npartitions} chunks differ from NumPy's in double precision by {error:.1e}, "
        f"and lie {'' if within else 'not '}between min and max",
        error,
        bound,
    )


def check_moments(params: Params, results: dict) -> list[osp.Check]:
    """Mean and variance against their expectations, to six standard errors."""
    size = params.size // params.itemsize
    expected = moment(lambda y: y)
    variance = moment(lambda y: (y - expected) ** 2)
    kurtosis = moment(lambda y: (y - expected) ** 4)
    checks = []
    for name, found, right, spread in (
        ("mean", float(results["mean"]), expected, variance),
        ("variance", float(results["std"]) ** 2, variance, kurtosis - variance**2),
    ):
        error, bound = abs(found - right), 6 * math.sqrt(spread / size) + 1e-6
        summary = f"the {name} is off its expectation, {right:.6f}, by {error:.1e}, and may be by {bound:.1e}"
        checks.append(osp.Check(error <= bound, summary, error, bound))
    return checks


def moment(function) -> float:
    """The expectation of a function of `wave` of a number spread evenly over the interval."""
    integral, _ = quad(lambda x: function(np.sin(x) ** 2 + x * np.cos(x)), -HALF_WIDTH, HALF_WIDTH, limit=200)
    return integral / (2 * HALF_WIDTH)


def numbers(params: Params) -> da.Array:
    # A BitGenerator of NumPy's makes NumPy chunks, on clusters of GPUs too.
    rng = da.random.default_rng(np.random.PCG64(params.seed))
    dtype = np.dtype(params.dtype)
    x = rng.random(params.size // params.itemsize, dtype=dtype, chunks=params.chunk // params.itemsize)
    return (x * 2 - 1) * dtype.type(HALF_WIDTH)
