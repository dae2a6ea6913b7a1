"""Chunks on a GPU as panels: where they lie, or copied side by side."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cases import assert_product, matrix
from overspill.backend import to_numpy
from overspill.memory import ledger
from overspill.planning.grid import even, intervals
from overspill.stream.device import device
from overspill.stream.panel import lie_well
from overspill.stream.strip import Part, Reread
from stream.test_product import DEVICE_SOURCES, K, M, N, as_tile, multiply, on_device

pytestmark = pytest.mark.gpu

A_ROWS, B_COLUMNS = (70, 90, 30), (110, 100)
SAME_CUTS, OTHER_CUTS = ((100, 120, 40), (100, 120, 40)), ((100, 120, 40), (50, 200, 10))
"""Of A and of B along K, at even places: what begins at odd ones is copied."""


@pytest.fixture
def few_copies(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Parts of 4 by 4 elements are large enough to stay where they are; of each panel, whether it did."""
    from overspill.stream import upload_cuda

    stayed = list[bool]()

    def noted(*arguments: Any) -> bool:
        stayed.append(lie_well(*arguments))
        return stayed[-1]

    monkeypatch.setattr(upload_cuda, "LEAST_SIDES", {"float64": 4})
    monkeypatch.setattr(upload_cuda, "lie_well", noted)
    return stayed


@pytest.mark.parametrize("keep_on_device", [False, True])
@pytest.mark.parametrize("cuts", [SAME_CUTS, OTHER_CUTS])
@pytest.mark.parametrize("width", [40, 130, K])
@pytest.mark.parametrize("source", DEVICE_SOURCES)
def test_chunks_are_multiplied_where_they_lie(
    keep_on_device: bool, cuts: Any, width: int, source: str, few_copies: list[bool]
) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    options = {"width": width, "a_chunks": (A_ROWS, cuts[0]), "b_chunks": (cuts[1], B_COLUMNS)}
    c = multiply(a, b, DEVICE_SOURCES[source], "cupy", keep_on_device=keep_on_device, **options)
    assert_product(to_numpy(c), a[20:175], b[:, 60:200])
    assert few_copies == [True] * 2 * len(even(K, width))


@pytest.mark.usefixtures("few_copies")
def test_what_is_made_for_a_panel_lives_until_it_is_multiplied() -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    options = {"width": 40, "keep_on_device": True, "a_chunks": (A_ROWS, even(K, 40))}
    with ThreadPoolExecutor(3) as pool:
        made = DEVICE_SOURCES["recomputed CuPy"]
        tasks = [
            pool.submit(multiply, a, b, source, "cupy", **options) for source in islice(cycle([made, on_device]), 20)
        ]
        for task in tasks:
            assert_product(to_numpy(task.result(60)), a[20:175], b[:, 60:200])


@pytest.mark.parametrize(("least_side", "width"), [(4, 130), (10**6, 65)])
def test_what_makes_chunks_is_waited_for(least_side: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are copied, into buffers that were taken before, or not."""
    import cupy

    from overspill.stream import upload_cuda

    monkeypatch.setattr(upload_cuda, "LEAST_SIDES", {"float64": least_side})
    chunks = {"width": width, "a_chunks": (A_ROWS, SAME_CUTS[0]), "b_chunks": (SAME_CUTS[1], B_COLUMNS)}
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    begun, go_on = threading.Event(), threading.Event()

    def made(chunk: Any, numbers: Any) -> Any:
        with cupy.cuda.Stream.null:
            if SAME_CUTS[0][-1] in chunk.shape and not begun.is_set():
                cupy.cuda.get_current_stream().launch_host_func(lambda _: go_on.wait(60), None)
                begun.set()
            chunk[...] = numbers
        return chunk

    def recipe(x: NDArray[Any]) -> Reread:
        return Reread("x", {"x": (made, on_device(np.full_like(x, np.nan)), on_device(x))}, "recompute")

    with ThreadPoolExecutor(1) as pool:
        # What has to allocate, or make a handle, would wait for the stream that is held up.
        made_before = DEVICE_SOURCES["recomputed CuPy"]
        pool.submit(multiply, a, b, made_before, "cupy", keep_on_device=True, **chunks).result(60)
        product = pool.submit(multiply, a, b, recipe, "cupy", keep_on_device=True, **chunks)
        assert begun.wait(60)
        wait([product], timeout=0.3)  # long enough for it to be multiplied, if it may
        go_on.set()
        assert_product(to_numpy(product.result(60)), a[20:175], b[:, 60:200])


@pytest.mark.usefixtures("few_copies")
@pytest.mark.parametrize(("dtype", "panels"), [("float64", 0), ("float32", 1)])
def test_they_take_no_buffers_then(dtype: str, panels: int) -> None:
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    device("cupy").buffers._clear()
    ledger.reset()
    before = ledger.snapshot()["peak_device_nbytes"]
    options = {"a_chunks": (A_ROWS, SAME_CUTS[0]), "b_chunks": (SAME_CUTS[1], B_COLUMNS)}
    c = multiply(a, b, on_device, "cupy", width=K, keep_on_device=True, tile=((0, M), (0, N)), **options)
    buffers_nbytes = ledger.snapshot()["peak_device_nbytes"] - before
    rows, columns = M + 7, N + 11  # of buffers
    assert buffers_nbytes == np.dtype(dtype).itemsize * (rows * columns + panels * K * (rows + columns))
    assert_product(to_numpy(c), a, b)


def test_chunks_in_host_memory_between_them_go_up(few_copies: list[bool]) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    makers = cycle([on_device, as_tile])
    c = multiply(a, b, lambda x: next(makers)(x), "cupy", keep_on_device=True)
    assert_product(to_numpy(c), a[20:175], b[:, 60:200])
    assert not any(few_copies)


@pytest.mark.parametrize(
    ("form", "well"),
    [
        (lambda x: x, True),
        (lambda x: x.T, True),
        (lambda x: x[:64, :64], True),
        (lambda x: x[:, 1:], False),  # rows begin at odd places
        (lambda x: x[:, :-1][:, ::2], False),
        (lambda x: x[::-1], False),
        (lambda x: x.astype("float32"), False),
    ],
)
def test_those_lie_well_that_blas_reads_fast(form: Callable[[Any], Any], well: bool) -> None:
    x = form(on_device(matrix((200, 130), "float64")))
    assert lie_well([Part(x, 0, 0)], np.dtype("float64"), 64) == well


@pytest.mark.parametrize(
    ("sizes", "well"), [((10,), True), ((64, 64), True), ((100, 28), True), ((64, 62), False), ((128, 30, 30), False)]
)
@pytest.mark.parametrize("along_side", [False, True])
def test_an_axis_in_small_pieces_is_copied(sizes: tuple[int, ...], along_side: bool, well: bool) -> None:
    x = on_device(matrix((200, 200), "float64"))
    parts = [
        Part(x[start:stop, :130], start, 0) if along_side else Part(x[:130, start:stop], 0, start)
        for start, stop in intervals(sizes)
    ]
    assert lie_well(parts, np.dtype("float64"), 64) == well


@pytest.mark.parametrize(
    ("columns", "side", "width", "well"),
    [(130, 0, 130, True), (131, 0, 130, False), (130, 0, 131, False), (130, 200, 0, True), (130, 199, 0, False)],
)
def test_rows_and_products_begin_at_even_places(columns: int, side: int, width: int, well: bool) -> None:
    x = on_device(matrix((200, columns), "float64"))[:, :130]
    assert lie_well([Part(x, 0, 0), Part(x, side, width)], np.dtype("float64"), 64) == well
