"""Chunks on a GPU as panels: where they lie, or copied side by side."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest

from cases import assert_product, matrix
from overspill.backend import to_numpy
from overspill.memory import ledger
from overspill.planning.grid import even
from overspill.stream.device import device
from overspill.stream.panel import lies_well
from overspill.stream.strip import Part
from stream.test_product import DEVICE_SOURCES, K, M, N, multiply, on_device

pytestmark = pytest.mark.gpu

ALIGNED = ((70, 90, 30), (100, 120, 40)), ((100, 120, 40), (110, 100))
MISALIGNED = ((70, 90, 30), (100, 120, 40)), ((50, 200, 10), (110, 100))


@pytest.fixture
def few_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 8 by 8 elements are large enough to stay where they are."""
    from overspill.kernels import gemm_cuda

    monkeypatch.setattr(gemm_cuda, "BLOCK_SIDE", {"float64": 16})


@pytest.mark.usefixtures("few_copies")
@pytest.mark.parametrize("keep_on_device", [False, True])
@pytest.mark.parametrize("chunks", [ALIGNED, MISALIGNED])
@pytest.mark.parametrize("width", [40, 90, K])
@pytest.mark.parametrize("source", DEVICE_SOURCES)
def test_chunks_are_multiplied_where_they_lie(keep_on_device: bool, chunks: Any, width: int, source: str) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    options = {"keep_on_device": keep_on_device, "width": width, "a_chunks": chunks[0], "b_chunks": chunks[1]}
    c = multiply(a, b, DEVICE_SOURCES[source], "cupy", **options)
    assert_product(to_numpy(c), a[20:175], b[:, 60:200])


@pytest.mark.usefixtures("few_copies")
def test_what_is_made_for_a_panel_lives_until_it_is_multiplied() -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    options = {"width": 40, "keep_on_device": True, "a_chunks": (ALIGNED[0][0], even(K, 40))}
    with ThreadPoolExecutor(3) as pool:
        made = DEVICE_SOURCES["recomputed CuPy"]
        tasks = [
            pool.submit(multiply, a, b, source, "cupy", **options) for source in islice(cycle([made, on_device]), 20)
        ]
        for task in tasks:
            assert_product(to_numpy(task.result(60)), a[20:175], b[:, 60:200])


@pytest.mark.usefixtures("few_copies")
@pytest.mark.parametrize(("dtype", "panels"), [("float64", 0), ("float32", 1)])
def test_they_take_no_buffers_then(dtype: str, panels: int) -> None:
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    device("cupy").buffers._clear()
    ledger.reset()
    before = ledger.snapshot()["peak_device_nbytes"]
    multiply(a, b, on_device, "cupy", width=K, keep_on_device=True, tile=((0, M), (0, N)))
    buffers_nbytes = ledger.snapshot()["peak_device_nbytes"] - before
    assert buffers_nbytes == panels * np.dtype(dtype).itemsize * K * (M + 7 + N + 11)


@pytest.mark.parametrize(
    ("form", "well"),
    [
        (lambda x: x, True),
        (lambda x: x.T, True),
        (lambda x: x[:64, :64], True),
        (lambda x: x[:62, :64], False),  # too small
        (lambda x: x[:, 1:], False),  # rows begin at odd places
        (lambda x: x[:, :-1][:, ::2], False),
        (lambda x: x[::-1], False),
        (lambda x: x.astype("float32"), False),
    ],
)
def test_those_lie_well_that_blas_reads_fast(form: Callable[[Any], Any], well: bool) -> None:
    x = form(on_device(matrix((200, 130), "float64")))
    assert lies_well([Part(x, 0, 0)], np.dtype("float64"), 64) == well


def test_rows_of_an_odd_pitch_do_not() -> None:
    x = on_device(matrix((200, 131), "float64"))
    assert not lies_well([Part(x, 0, 0)], np.dtype("float64"), 64)
    assert lies_well([Part(x[:, :130].copy(), 0, 0), Part(x[:, :130].copy(), 0, 130)], np.dtype("float64"), 64)
    assert not lies_well([Part(x[:, :130].copy(), 0, 0), Part(x[:, :130].copy(), 0, 131)], np.dtype("float64"), 64)
