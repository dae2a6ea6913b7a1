"""Chunks on a GPU, which are copied side by side into panels."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cases import assert_product, matrix
from overspill.backend import to_numpy
from overspill.memory import ledger
from overspill.planning.grid import even
from overspill.stream.device import device
from overspill.stream.strip import Reread
from stream.test_product import DEVICE_SOURCES, K, M, N, as_tile, multiply, on_device

pytestmark = pytest.mark.gpu

A_ROWS, B_COLUMNS = (70, 90, 30), (110, 100)
SAME_CUTS, OTHER_CUTS = ((100, 120, 40), (100, 120, 40)), ((100, 120, 40), (50, 200, 10))
"""Of A and of B along K."""


@pytest.mark.parametrize("keep_on_device", [False, True])
@pytest.mark.parametrize("cuts", [SAME_CUTS, OTHER_CUTS])
@pytest.mark.parametrize("width", [40, 130, K])
@pytest.mark.parametrize("source", DEVICE_SOURCES)
def test_panels_are_made_of_chunks_of_any_cuts(keep_on_device: bool, cuts: Any, width: int, source: str) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    options = {"width": width, "a_chunks": (A_ROWS, cuts[0]), "b_chunks": (cuts[1], B_COLUMNS)}
    c = multiply(a, b, DEVICE_SOURCES[source], "cupy", keep_on_device=keep_on_device, **options)
    assert_product(to_numpy(c), a[20:175], b[:, 60:200])


def test_what_is_made_for_a_panel_lives_until_it_is_copied() -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    options = {"width": 40, "keep_on_device": True, "a_chunks": (A_ROWS, even(K, 40))}
    with ThreadPoolExecutor(3) as pool:
        made = DEVICE_SOURCES["recomputed CuPy"]
        tasks = [
            pool.submit(multiply, a, b, source, "cupy", **options) for source in islice(cycle([made, on_device]), 20)
        ]
        for task in tasks:
            assert_product(to_numpy(task.result(60)), a[20:175], b[:, 60:200])


def test_what_makes_chunks_is_waited_for() -> None:
    """Though they are copied into buffers that were taken before."""
    import cupy

    chunks = {"width": 65, "a_chunks": (A_ROWS, SAME_CUTS[0]), "b_chunks": (SAME_CUTS[1], B_COLUMNS)}
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


def test_chunks_in_host_memory_between_them_go_up() -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    makers = cycle([on_device, as_tile])
    c = multiply(a, b, lambda x: next(makers)(x), "cupy", keep_on_device=True)
    assert_product(to_numpy(c), a[20:175], b[:, 60:200])


def test_they_are_converted_to_the_type_that_was_declared() -> None:
    a, b = (matrix(shape, "float32", seed).astype(float) for seed, shape in enumerate(((M, K), (K, N))))
    c = multiply(a, b, lambda x: on_device(x.astype(np.float32)), "cupy", keep_on_device=True)
    assert_product(to_numpy(c), a[20:175], b[:, 60:200])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_single_panel_takes_one_pair_of_buffers(dtype: str) -> None:
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    device("cupy").buffers._clear()
    ledger.reset()
    before = ledger.snapshot()["peak_device_nbytes"]
    chunks = {"width": K, "a_chunks": (A_ROWS, SAME_CUTS[0]), "b_chunks": (SAME_CUTS[1], B_COLUMNS)}
    c = multiply(a, b, on_device, "cupy", keep_on_device=True, tile=((0, M), (0, N)), **chunks)
    rows, columns = M + 7, N + 11  # of buffers
    found = ledger.snapshot()["peak_device_nbytes"] - before
    assert found == np.dtype(dtype).itemsize * (rows * columns + K * (rows + columns))
    assert_product(to_numpy(c), a, b)


def test_one_chunk_that_a_task_makes_is_in_hand_at_a_time() -> None:
    made, alive = list[weakref.ref[Any]](), list[int]()

    def make(x: NDArray[Any]) -> NDArray[Any]:
        alive.append(sum(chunk() is not None for chunk in made))
        chunk = x.copy()
        made.append(weakref.ref(chunk))
        return chunk

    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    c = multiply(a, b, lambda x: Reread("x", {"x": (make, x)}, "recompute"), "cupy", width=K)
    assert_product(c, a[20:175], b[:, 60:200])
    assert max(alive) == 1
