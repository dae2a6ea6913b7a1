"""Who multiplies a sparse matrix in host memory with a vector on the GPUs: each returns its figures, once checked.

All of the matrix goes up for each product, and the product stays on the GPUs.
"""

import importlib
import time
from collections.abc import Callable
from contextlib import ExitStack
from operator import sub
from typing import Any

import contenders
import dask.array as da
import links
import memory_use
import numpy as np
from contenders import Limits
from distributed import Client, Future, futures_of, wait
from numpy.typing import NDArray
from sparse_stream_by_hand import by_hand
from sparse_stream_matrix import Size, check, matrix, vector
from spill_works import held, speeds, timed

from overspill import backend
from overspill.memory import ledger


def overspill(stack: ExitStack, limits: Limits, size: Size) -> dict[str, Any]:
    """Tiles that go up within the tasks that multiply them."""
    client = stack.enter_context(contenders.overspill(limits))
    client.run(_touch)
    before = memory_use.on_gpus_nbytes()  # contexts, which are no arrays
    with memory_use.sampled(lambda: max(map(sub, memory_use.on_gpus_nbytes(), before)), interval_s=0.02) as peak:
        found = multiply_tiles(client, size, "cupy")
    assert found["uploaded_nbytes"] >= found["nbytes"] * (1 + size.repeats), f"went up: {found['uploaded_nbytes']}"
    used = {"peak_device_nbytes": peak.nbytes, "limit_nbytes": limits.nbytes}
    return found | used | {"link_gb_per_s": links.gb_per_s(client)}


def multiply_tiles(client: Client, size: Size, xp: str) -> dict[str, Any]:
    """This library's product, the vector made by the module named `xp`."""
    start = time.perf_counter()
    A = held(client, matrix(size).to_host())
    meta = importlib.import_module(xp).empty(0)
    x = held(client, da.map_blocks(_part, xp, chunks=(A.row_chunks,), dtype=meta.dtype, meta=meta))
    made_s = time.perf_counter() - start
    client.run(ledger.reset)

    def product() -> da.Array:
        y = held(client, A.to_device() @ x)
        _finish(client, xp)
        return y

    y, seconds = timed(client, product, size.repeats)
    uploaded_nbytes = ledger.total(list(client.run(ledger.snapshot).values()))["uploaded_nbytes"]

    def fetch(number: int, rows: slice) -> NDArray[Any]:
        part = y.blocks[number][rows].map_blocks(backend.to_numpy, dtype=y.dtype, meta=np.empty(0))
        return np.asarray(client.compute(part).result())

    value = float(client.compute(y.sum()).result())
    found = {"made_s": made_s, "uploaded_nbytes": uploaded_nbytes, "value": value}
    return speeds(A.nbytes, seconds) | found | {"rows_checked": check(size, fetch)}


def stock(stack: ExitStack, limits: Limits, size: Size) -> dict[str, Any]:
    """SciPy blocks on stock dask-cuda, and the vector on every GPU; a task a block brings it up and multiplies."""
    client = stack.enter_context(contenders.stock(limits))
    return multiply_futures(client, size, "cupy", _bring_up_and_multiply)


def multiply_futures(client: Client, size: Size, xp: str, multiply: Callable[..., Any]) -> dict[str, Any]:
    """The product of blocks that are futures of SciPy's matrices, by ``multiply(block, x, window)``."""
    start = time.perf_counter()
    A = held(client, matrix(size))
    futures = {future.key: future for future in futures_of(A)}
    blocks = [futures[key] for key in A.__dask_keys__()]
    x = client.submit(_vector, xp, size.rows)
    wait(x)
    client.replicate([x])
    made_s = time.perf_counter() - start
    windows = [block.columns for block in A.blocks]

    def product() -> list[Future]:
        parts = client.map(multiply, blocks, [x] * size.blocks, windows, pure=False)
        wait(parts)
        _finish(client, xp)
        return parts

    parts, seconds = timed(client, product, size.repeats)
    value = sum(client.gather(client.map(_sum, parts)))
    rows_checked = check(size, lambda number, rows: client.submit(_to_host, parts[number], rows).result())
    return speeds(A.nbytes, seconds) | {"made_s": made_s, "value": value, "rows_checked": rows_checked}


CONTENDERS: dict[str, Callable[[ExitStack, Limits, Size], dict[str, Any]]] = {
    "overspill": overspill,
    "stock dask": stock,
    "by hand": by_hand,
}
"""This library's first; all must find the same value."""


def _touch() -> None:
    import cupy

    cupy.zeros(1)


def _finish(client: Client, xp: str) -> None:
    """Wait for what tasks have only queued on their GPUs."""
    if xp == "cupy":
        client.run(_synchronize)


def _synchronize() -> None:
    import cupy

    cupy.cuda.Device().synchronize()


def _part(xp: str, block_info: Any = None) -> Any:
    return vector(importlib.import_module(xp), *block_info[None]["array-location"][0])


def _vector(xp: str, columns: int) -> Any:
    return vector(importlib.import_module(xp), 0, columns)


def _bring_up_and_multiply(block: Any, x: Any, window: tuple[int, int]) -> Any:
    import cupyx.scipy.sparse

    A = cupyx.scipy.sparse.csr_matrix(block)
    A.has_canonical_format = True  # else it is looked through
    y = A @ x[slice(*window)]
    return y


def _sum(part: Any) -> float:
    return float(part.sum())


def _to_host(part: Any, rows: slice) -> NDArray[Any]:
    return backend.to_numpy(part[rows])
