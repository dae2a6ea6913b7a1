"""How fast matrices are multiplied: by the stream that `osp.matmul` uses, on either side."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np

from overspill.backend import array_namespace, meta
from overspill.doctor.probe import Effort, Probe, Step
from overspill.planning.arithmetic import arithmetic
from overspill.stream.device import TileShape, device
from overspill.stream.strip import Part

RATES = {
    "float64": "float64",
    "float32": "float32",
    "float16": "float16",
    "complex64": "complex64",
    "complex128": "complex128",
    "integer": "int32",
}
"""The rates of products that plans know, and the element type that stands for each; int32 takes four limb products."""

BLOCK = 256
"""Order of the block of random numbers that matrices repeat: of zeros a GPU would multiply faster than of numbers."""

SCALE = 0.01
"""Of the numbers: thousands of products add up to what float16 still holds."""

BATCH_S = 0.1
"""Products that a GPU does in less time are queued, as many as take this long, before it is waited for. Then the output
tile is put in order, which is in the time, and happens beside the next tile's product otherwise."""


def probes(side: Literal["numpy", "cupy"]) -> list[Probe]:
    """A probe for each rate of products."""
    return [
        Probe(f"product, {rate}", "FLOP", partial(multiplying, side=side, dtype=dtype)) for rate, dtype in RATES.items()
    ]


@contextmanager
def multiplying(effort: Effort, *, side: Literal["numpy", "cupy"], dtype: str) -> Iterator[Step]:
    """Products of two square matrices, added up in an output tile; counts operations."""
    n = effort.host_n if side == "numpy" else effort.device_n
    cost = arithmetic(dtype, "cpu" if side == "numpy" else "cuda")
    stream = device(side).open(TileShape((n, n), (n, n), n), dtype, cost, keep_on_device=True, in_turn=False)
    try:
        x = _matrix(n, dtype, side)
        a = stream.upload(0, 0, [Part(x, 0, 0)], (n, n))
        b = stream.upload(1, 0, [Part(x.T, 0, 0)], (n, n))  # as chunks of B lie
        at_a_time = 1

        def step() -> float:
            for _ in range(at_a_time - 1):
                stream.multiply(0, a, b)
            stream.multiply(0, a, b, last=True)
            stream.download()
            return at_a_time * cost.flop * float(n) ** 3

        if side == "cupy":
            step()
            at_a_time = max(1, round(BATCH_S / _seconds(step)))
        yield step
    finally:
        stream.close()


def _matrix(n: int, dtype: str, side: Literal["numpy", "cupy"]) -> Any:
    kind, rng = np.dtype(dtype), np.random.default_rng(0)
    if kind.kind == "i":
        block = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, (BLOCK, BLOCK), kind, endpoint=True)
    else:
        block = SCALE * rng.standard_normal((BLOCK, BLOCK))
        block = (block + 1j * block.T if kind.kind == "c" else block).astype(kind)
    # Repeated where it is wanted: a gigabyte takes a host longer to make than a GPU to multiply.
    xp, repeats = np if side == "numpy" else array_namespace(meta("device", kind, 2)), -(-n // BLOCK)
    return xp.ascontiguousarray(xp.tile(xp.asarray(block), (repeats, repeats))[:n, :n])


def _seconds(step: Step) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun
