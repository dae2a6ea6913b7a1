"""Square matrices whose every element is known, and what their product must be, to check it without a second one.

An element has 53 random bits, as random numbers do: those of a hash of its row plus those of a hash of its column, so
that a block is made in one pass wherever it is wanted. The sum of all elements of a column follows from these hashes
alone, and so does the sum over the whole product.
"""

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from overspill import memory

KEYS = {"A": 1, "B": 2}
"""What the hashes of each operand begin with."""

IMAGINARY = 16
"""Added to the key for the imaginary part."""

BITS = 53

BAND = 16
"""Rows that NumPy makes at a time: what lies between the hashes and a band of a chunk stays in a core's cache."""

THREADS = 8
"""That make a chunk together."""

SAMPLES = 96
"""Rows, and columns, whose crossings are compared with NumPy."""

TOLERANCE = {"float64": 1e-12, "float32": 1e-4, "complex64": 1e-4, "float16": 2e-3}
"""Relative error of an element, and of the sum: rounding while so many products are added, in float32 for float16."""

Span = tuple[int, int]
"""The first index, and the one after the last."""


def array(xp: str, name: str, n: int, chunk: int, dtype: str) -> da.Array:
    """The operand `name` as a lazy array, its chunks made where they are computed by the module named `xp`."""
    meta = importlib.import_module(xp).empty((0, 0), dtype)
    sizes = (chunk,) * (n // chunk) + ((n % chunk,) if n % chunk else ())
    return da.map_blocks(_chunk, xp, name, chunks=(sizes, sizes), dtype=meta.dtype, meta=meta)


def block(xp: ModuleType, name: str, rows: Span, columns: Span, dtype: str) -> Any:
    """The elements of the operand `name` in these rows and columns, from 0 to 1."""
    return sum(unit * _crossed(xp, *_hashes_of(xp, key, rows, columns)) for key, unit in _parts(name, dtype)).astype(
        dtype
    )


def fill(out: NDArray[Any], name: str, rows: Span, columns: Span) -> None:
    """Write these elements into `out`."""
    real = out.dtype.type(0).real.dtype
    for place, (key, _) in enumerate(_parts(name, out.dtype.name)):
        part = out.view(real)[:, place :: out.itemsize // real.itemsize]
        down, across = _hashes_of(np, key, rows, columns)
        for start in range(0, len(out), BAND):
            part[start : start + BAND] = _crossed(np, down[start : start + BAND], across)


def total(n: int, dtype: str) -> complex:
    """The sum of all elements of the product of n × n matrices, but for the rounding of their elements to `dtype`."""
    a = sum(unit * _sums(key, n, along=0) for key, unit in _parts("A", dtype))
    b = sum(unit * _sums(key, n, along=1) for key, unit in _parts("B", dtype))
    return complex(np.dot(a, b))


def samples(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns to look at, the outermost among them."""
    rng = np.random.default_rng(0)
    rows, columns = (np.union1d(rng.choice(n, min(n, SAMPLES) - 2), (0, n - 1)) for _ in range(2))
    return rows, columns


def check(
    n: int, dtype: str, found_total: complex, elements: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]
) -> dict[str, float]:
    """Hold a product's sum and the `elements` where some rows and columns cross to what they must be.

    Returns
    -------
    dict
        ``"error"``, the largest relative one, and ``"value"``, the sum as a share of what it must be: those of
        contenders that multiply smaller matrices can be compared too.
    """
    rows, columns = samples(n)
    got = elements(rows, columns)
    assert got.shape == (len(rows), len(columns)) and got.dtype == dtype, f"elements are {got.dtype}{got.shape}"
    wide = np.result_type(dtype, np.float64)
    a = np.concatenate([block(np, "A", (i, i + 1), (0, n), dtype) for i in rows]).astype(wide)
    b = np.concatenate([block(np, "B", (0, n), (j, j + 1), dtype) for j in columns], axis=1).astype(wide)
    expected = a @ b
    share = found_total / total(n, dtype)
    error = float(np.max([(np.abs(got - expected) / np.abs(expected)).max(), abs(share - 1)]))  # NaN if any is
    assert error <= TOLERANCE[dtype], f"the product is wrong by {error:.1e}"
    return {"error": error, "value": float(share.real)}


def flop(n: int, dtype: str) -> int:
    """Operations of a product of n × n matrices."""
    return (8 if np.dtype(dtype).kind == "c" else 2) * n**3


def _chunk(xp: str, name: str, block_info: Any = None) -> Any:
    """A chunk, made on the host band by band."""
    about = block_info[None]
    rows, columns = about["array-location"]
    if xp != "numpy":
        return block(importlib.import_module(xp), name, rows, columns, about["dtype"].name)
    out = memory.empty(about["chunk-shape"], about["dtype"])  # where `to_host` would only copy it to
    edges = np.linspace(0, len(out), THREADS + 1).astype(int)
    with ThreadPoolExecutor(THREADS) as threads:
        parts = [(out[low:high], (rows[0] + low, rows[0] + high)) for low, high in pairwise(edges) if low < high]
        list(threads.map(lambda part: fill(part[0], name, part[1], columns), parts))
    return out


def _parts(name: str, dtype: str) -> list[tuple[int, complex]]:
    """Keys of an operand's real part, and of its imaginary one if it has any, and what each is multiplied by."""
    return [(KEYS[name], 1.0), (KEYS[name] + IMAGINARY, 1j)][: 2 if np.dtype(dtype).kind == "c" else 1]


def _crossed(xp: ModuleType, down: Any, across: Any) -> Any:
    """Fractions whose bits are the sums of those of rows and columns."""
    numbers = down[:, None] + across[None, :]
    numbers &= np.uint64(2**BITS - 1)
    x = numbers.astype(xp.float64)
    x *= np.float64(2.0**-BITS)
    return x


def _hashes_of(xp: ModuleType, key: int, rows: Span, columns: Span) -> tuple[Any, Any]:
    return _hashes(xp, 2 * key, *rows), _hashes(xp, 2 * key + 1, *columns)


def _hashes(xp: ModuleType, key: int, start: int, stop: int) -> Any:
    """`BITS` bits of each index: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = (xp.arange(start, stop, dtype=xp.uint64) + np.uint64(key << 40)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(64 - BITS)


def _sums(key: int, n: int, *, along: int) -> NDArray[np.float64]:
    """The sums of a part of an operand over its rows (`along` 0), or over its columns.

    Each element is the sum of two fractions less one where that is 1 or more; how often it is, sorting tells.
    """
    own, other = (_hashes(np, 2 * key + side, 0, n) for side in (1 - along, along))
    carries = n - np.searchsorted(np.sort(other), np.uint64(2**BITS) - own)
    fractions = own * 2.0**-BITS
    return (other * 2.0**-BITS).sum() + n * fractions - carries
