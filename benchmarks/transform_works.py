"""What the benchmark of elementwise work computes, contender by contender; each returns its figures once checked."""

import functools
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import contenders
import dask.array as da
import known
import links
import numpy as np
from contenders import Limits
from distributed import Client
from spill_works import held, speeds, timed, wave

import overspill as osp

TOLERANCE = 1e-5
"""Of a float32 result of order one, which GPUs and NumPy round differently."""

fused = osp.elementwise(wave)


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of an array, the side of its square chunks, and how often work is repeated after the first time."""

    nbytes: int
    side: int
    repeats: int

    def grid(self, itemsize: int) -> tuple[int, int]:
        """Rows and columns of chunks."""
        return known.grid(max(1, round(self.nbytes / (itemsize * self.side**2))))


Work = Callable[[ExitStack, Limits, Size, Mapping[str, Any]], dict[str, Any]]


def round_trip(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """From tiles to tiles."""
    client = stack.enter_context(contenders.overspill(limits, **threads))
    x = held(client, osp.to_host(known.array("cupy", size.side, size.grid(4))))
    found = _round(client, x, osp.to_host(fused(osp.to_device(x))), size)
    return found | {"link_gb_per_s": links.gb_per_s(client, both_ways=True)}


def stock_round_trip(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """CuPy chunks that stock dask-cuda spills."""
    client = stack.enter_context(contenders.stock(limits))
    x = held(client, known.array("cupy", size.side, size.grid(4)))
    return _round(client, x, wave(x), size)


def round_trip_by_hand(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """NumPy chunks on stock dask-cuda, copied up and down by calls of CuPy's."""
    client = stack.enter_context(contenders.stock(limits))
    x = held(client, _by_hand_down(known.array("cupy", size.side, size.grid(4))))
    return _round(client, x, _by_hand_down(wave(_by_hand_up(x))), size)


def mean_from_host(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of the transform of tiles."""
    client = stack.enter_context(contenders.overspill(limits, **threads))
    x = held(client, osp.to_host(known.array("cupy", size.side, size.grid(4))))
    found = _mean(client, x, osp.mean(fused(osp.to_device(x))), size)
    return found | {"link_gb_per_s": links.gb_per_s(client)}


def stock_mean_from_host(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of the transform of CuPy chunks that stock dask-cuda has spilled."""
    client = stack.enter_context(contenders.stock(limits))
    x = held(client, known.array("cupy", size.side, size.grid(4)))
    return _mean(client, x, wave(x).mean(), size)


def mean_by_hand(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of the transform of NumPy chunks, copied up by CuPy."""
    client = stack.enter_context(contenders.stock(limits))
    x = held(client, _by_hand_down(known.array("cupy", size.side, size.grid(4))))
    return _mean(client, x, wave(_by_hand_up(x)).mean(), size)


def resident_mean(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of the transform of what lies in GPU memory, float64."""
    client = stack.enter_context(contenders.overspill(limits, **threads))
    x = held(client, known.array("cupy", size.side, size.grid(8)).astype(np.float64))
    return _mean(client, x, osp.mean(fused(x)), size)


def resident_mean_by_jax(stack: ExitStack, limits: Limits, size: Size, threads: Mapping[str, Any]) -> dict[str, Any]:
    """The same by one JAX program over all GPUs."""
    import jax

    jax.config.update("jax_enable_x64", True)
    devices = np.array(jax.devices())
    rows, columns = (count * size.side for count in size.grid(8))
    sharding = jax.sharding.NamedSharding(jax.sharding.Mesh(devices, ("gpu",)), jax.sharding.PartitionSpec("gpu"))

    @functools.partial(jax.jit, out_shardings=sharding)
    def array() -> Any:
        return known.block(jax.numpy, (0, rows), (0, columns)).astype(np.float64)

    @jax.jit
    def mean(x: Any) -> Any:
        return (jax.numpy.sin(x) ** 2 + jax.numpy.cos(x) * x).mean()

    x = array()
    x.block_until_ready()
    seconds = []
    for _ in range(1 + size.repeats):
        start = time.perf_counter()
        got = float(mean(x))
        seconds.append(time.perf_counter() - start)
    return speeds(x.nbytes, seconds) | {"error": known.check_mean(got, wave, (rows, columns))}


SLOW = ("stock", "stock, by hand")

WORKS: dict[str, dict[str, Work]] = {
    "round": {"overspill": round_trip, "stock": stock_round_trip, "stock, by hand": round_trip_by_hand},
    "mean": {"overspill": mean_from_host, "stock": stock_mean_from_host, "stock, by hand": mean_by_hand},
    "resident": {"overspill": resident_mean, "jax": resident_mean_by_jax},
}


def _round(client: Client, x: da.Array, y: da.Array, size: Size) -> dict[str, Any]:
    def expected(rows: known.Span, columns: known.Span) -> Any:
        return wave(known.on_host(rows, columns))

    result, seconds = timed(client, lambda: held(client, y), size.repeats)
    checked = known.check_blocks(client, result, expected, atol=TOLERANCE)
    return speeds(x.nbytes, seconds) | {"chunks_checked": checked}


def _mean(client: Client, x: da.Array, mean: da.Array, size: Size) -> dict[str, Any]:
    got, seconds = timed(client, lambda: float(client.compute(mean).result()), size.repeats)
    return speeds(x.nbytes, seconds) | {"error": known.check_mean(got, wave, x.shape)}


def _by_hand_up(x: da.Array) -> da.Array:
    import cupy

    return x.map_blocks(cupy.asarray, dtype=x.dtype, meta=cupy.empty((0, 0), x.dtype))


def _by_hand_down(x: da.Array) -> da.Array:
    import cupy

    return x.map_blocks(cupy.asnumpy, dtype=x.dtype, meta=np.empty((0, 0), x.dtype))
