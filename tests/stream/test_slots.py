"""Pairs of panel buffers, which tasks fill one after the other."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest

from cases import assert_product, matrix
from overspill.memory import ledger
from overspill.planning.arithmetic import arithmetic
from overspill.stream.device import SLOTS, TileShape, device
from overspill.stream.strip import Part
from stream.test_product import SOURCES, K, M, N, as_tile, multiply

pytestmark = pytest.mark.gpu

WIDTHS = 40, 90, 260
"""Of panels: tasks of several sizes take turns, of many panels or of one."""


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("source", ["tiles", "ordinary", "recomputed"])
def test_tasks_of_several_sizes_fill_them_in_turn(threads: int, source: str) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    with ThreadPoolExecutor(threads) as pool:
        products = [
            pool.submit(multiply, a, b, SOURCES[source], "cupy", width=width, keep_on_device=kept)
            for width, kept in islice(zip(cycle(WIDTHS), cycle([False, False, True, False]), strict=False), 40)
        ]
        for product in products:
            c = product.result(60)
            assert_product(c if type(c) is np.ndarray else c.get(), a[20:175], b[:, 60:200])


@pytest.mark.parametrize(("in_turn", "pairs"), [(True, 1), (False, 2)])
def test_they_are_of_all_tasks_or_of_each(in_turn: bool, pairs: int) -> None:
    where, x = device("cupy"), as_tile(matrix((M, K), "float64", 1))
    shape, per_element = TileShape((M, M), (M, M), K), arithmetic("float64", "cuda")
    where.buffers._clear()
    ledger.reset()
    before = ledger.snapshot()["peak_device_nbytes"]
    streams = [where.open(shape, "float64", per_element, keep_on_device=False, in_turn=in_turn) for _ in range(2)]
    for stream in streams:
        for slot in (stream.next_slot() for _ in range(SLOTS)):
            for operand in (0, 1):
                stream.upload(operand, slot, [Part(x, 0, 0)], (M, K))
    for stream in streams:
        stream.close()
    panels_nbytes, tile_nbytes = 8 * SLOTS * K * 2 * M, 8 * M * M
    assert ledger.snapshot()["peak_device_nbytes"] - before == 2 * tile_nbytes + pairs * panels_nbytes


def test_who_fails_hands_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from overspill.stream import cuda

    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    gemm, calls = cuda.gemm_cuda.gemm, iter(range(1000))

    def failing(*arguments: Any, **options: Any) -> None:
        if next(calls) % 29 == 1:
            raise MemoryError
        gemm(*arguments, **options)

    monkeypatch.setattr(cuda.gemm_cuda, "gemm", failing)
    with ThreadPoolExecutor(2) as pool:
        products = [pool.submit(multiply, a, b, as_tile, "cupy", width=40) for _ in range(20)]
        failed = [product.exception(60) for product in products]
        assert {type(error) for error in failed} == {MemoryError, type(None)}
        for product in products:
            if product.exception() is None:
                assert_product(product.result(), a[20:175], b[:, 60:200])
