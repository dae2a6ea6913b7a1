"""Pairs of panel buffers, which tasks fill one after the other."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import overspill as osp
from cases import assert_product, matrix
from overspill import memory
from overspill.memory import ledger
from overspill.planning.arithmetic import arithmetic
from overspill.planning.footprint import piece_nbytes
from overspill.stream import turn
from overspill.stream.device import SLOTS, TileShape, device
from overspill.stream.strip import Part
from stream.test_product import A_CHUNKS, SOURCES, K, M, N, as_tile, multiply

pytestmark = pytest.mark.gpu

WIDTHS = 40, 90, 260
"""Of panels: tasks of several sizes take turns, of many panels or of one."""


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("source", ["tiles", "ordinary", "recomputed"])
def test_tasks_of_several_sizes_meet(threads: int, source: str) -> None:
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
    tiles_nbytes = 2 * (tile_nbytes + piece_nbytes(M, 8 * M))
    assert ledger.snapshot()["peak_device_nbytes"] - before == tiles_nbytes + pairs * panels_nbytes


def test_a_task_that_cannot_begin_leaves_what_it_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from overspill.stream import cuda

    where, taken = device("cupy"), list[int]()
    shape, per_element = TileShape((M, N), (M, N), K), arithmetic("float64", "cuda")
    take = cuda.CUDA.take

    def once(*arguments: Any) -> Any:
        taken.append(arguments[-1])
        if len(taken) == 2:
            raise MemoryError("there is no second buffer")
        return take(*arguments)

    where.buffers._clear()
    streams = len(where._copying)
    monkeypatch.setattr(cuda.CUDA, "take", once)
    with pytest.raises(MemoryError, match="no second buffer"):
        where.open(shape, "float64", per_element, keep_on_device=False, in_turn=True)
    assert {nbytes: len(idle) for nbytes, idle in where.buffers._idle.items() if idle} == {taken[0]: 1}
    assert len(where._copying) == max(1, streams)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("keep_on_device", [False, True])
def test_nothing_of_a_task_lives_on_after_it(
    keep_on_device: bool, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even until Python looks for what refers to itself: its tile would take memory beside the next one's."""
    from overspill.stream import cuda

    streams, begin = list[weakref.ref[Any]](), cuda.CUDATileStream.__init__

    def noted(stream: Any, *args: Any, **options: Any) -> None:
        streams.append(weakref.ref(stream))
        begin(stream, *args, **options)

    monkeypatch.setattr(cuda.CUDATileStream, "__init__", noted)
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    gc.disable()
    try:
        with pytest.raises(osp.ArrayError) if fails else nullcontext():
            multiply(a, b, too_narrow if fails else as_tile, "cupy", keep_on_device=keep_on_device)
        assert [stream() for stream in streams] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_rows_are_brought_in_order_once_before_pages_are_made(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """Or the kernel that does would be loaded while pages are made, which takes until they are."""
    import cupy

    from overspill.memory.pinning import pin
    from overspill.stream import cuda, landing_cuda

    called, convert, make_pages = list[str](), cuda.CUDATileStream._convert, landing_cuda.populate

    def noted(stream: Any, rows: slice, target: Any) -> None:
        called.append("in order")
        assert cupy.cuda.get_current_stream() == stream._copying
        convert(stream, rows, target)

    monkeypatch.setattr(cuda.CUDATileStream, "_convert", noted)
    monkeypatch.setattr(landing_cuda, "populate", lambda tile: called.append("pages") or make_pages(tile))
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    memory.close()  # no block is recycled
    c = multiply(a, b, as_tile, "cupy", tile=((0, M), (0, N)))  # large enough to be a tile of the pool
    assert_product(c, a, b)
    assert called[:3] == ["in order", "pages", "in order"]
    before = called.count("in order")
    pin(c)
    del c
    called.clear()
    assert_product(multiply(a, b, as_tile, "cupy", tile=((0, M), (0, N))), a, b)
    assert called == ["in order"] * (before - 1), "where there are pages, and locked ones"


def test_who_begins_with_wide_panels_lets_others_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from overspill.stream import cuda

    monkeypatch.setattr(turn, "GIVING_WAY_PER_S", 2**13)  # for half a minute, though there is little to go up
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    widths, queue = list[int](), cuda.CUDATileStream.multiply

    def noted(stream: Any, slot: int, x: Any, y: Any, *, last: bool = False) -> None:
        widths.append(x.shape[1])
        queue(stream, slot, x, y, last=last)

    monkeypatch.setattr(cuda.CUDATileStream, "multiply", noted)
    waiting, give_way = threading.Event(), cuda.CUDA.give_way

    def noted_too(where: Any, nbytes: int) -> None:
        waiting.set()
        give_way(where, nbytes)

    monkeypatch.setattr(cuda.CUDA, "give_way", noted_too)
    with ThreadPoolExecutor(2) as pool:
        wide = pool.submit(multiply, a, b, as_tile, "cupy", panels=(130, 130), first=(0, 0))
        assert waiting.wait(60)
        narrow = pool.submit(multiply, a, b, as_tile, "cupy", panels=(20, 110, 130))
        for product in (wide, narrow):
            assert_product(product.result(60), a[20:175], b[:, 60:200])
    assert widths == [20, 110, 130, 130, 130]


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
        sources = islice(cycle([as_tile, as_tile, too_narrow]), 30)
        products = [pool.submit(multiply, a, b, source, "cupy", width=40) for source in sources]
        failed = [product.exception(60) for product in products]
        assert {type(error) for error in failed} == {MemoryError, osp.ArrayError, type(None)}
        for product in products:
            if product.exception() is None:
                assert_product(product.result(), a[20:175], b[:, 60:200])


def test_who_fails_to_fill_one_does_not_let_others_fill_it_too_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next task would find the slot that the one before has yet to multiply."""
    from overspill.stream import cuda

    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    last_panels_up, go_on, queue = threading.Event(), threading.Event(), cuda.CUDATileStream.multiply

    def held_back(stream: Any, *panels: Any, last: bool = False) -> None:
        if last and not last_panels_up.is_set():
            last_panels_up.set()
            go_on.wait(60)
        queue(stream, *panels, last=last)

    monkeypatch.setattr(cuda.CUDATileStream, "multiply", held_back)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(multiply, a, b, as_tile, "cupy")
        assert last_panels_up.wait(60)
        second, third = (pool.submit(multiply, 2 * a, b, source, "cupy") for source in (too_narrow, as_tile))
        wait([third], timeout=0.5)  # long enough for it to fill what it may
        go_on.set()
        assert isinstance(second.exception(60), osp.ArrayError)
        assert_product(first.result(60), a[20:175], b[:, 60:200])
        assert_product(third.result(60), 2 * a[20:175], b[:, 60:200])


def test_what_a_failed_upload_has_queued_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would land on the panel of the next one who fills the slot."""
    from overspill.memory.pinning import pin
    from overspill.stream import cuda
    from overspill.stream.upload_cuda import Uploads

    # Of so many bytes that chunks are tiles, which go up from where they lie.
    a, b = matrix((M, K), "complex128", 1), matrix((K, N), "complex128", 2)
    failed, go_on, multiplied = threading.Event(), threading.Event(), list[int]()
    copy, close, queue = Uploads._copy, cuda.CUDATileStream.close, cuda.CUDATileStream.multiply

    def copied_late(uploads: Any, array: Any, *where: Any) -> Any:
        if not failed.is_set():
            pin(array)  # now, since a GPU on which something is held up may let nobody lock pages
            uploads._copying.launch_host_func(lambda _: go_on.wait(60), None)
        return copy(uploads, array, *where)

    def noted(stream: Any) -> None:
        failed.set()
        close(stream)

    def after_what_failed(stream: Any, slot: int, *panels: Any, last: bool = False) -> None:
        multiplied.append(slot)
        if len(multiplied) == SLOTS:  # this slot is the one of the upload that failed
            go_on.set()
            assert isinstance(first.exception(60), osp.ArrayError)
        queue(stream, slot, *panels, last=last)

    monkeypatch.setattr(Uploads, "_copy", copied_late)
    monkeypatch.setattr(cuda.CUDATileStream, "close", noted)
    monkeypatch.setattr(cuda.CUDATileStream, "multiply", after_what_failed)
    with ThreadPoolExecutor(2) as pool:
        # Results that stay on the GPU, since those that go down have pages locked.
        first = pool.submit(multiply, 2 * a, b, too_narrow, "cupy", keep_on_device=True)
        assert failed.wait(60)
        second = pool.submit(multiply, a, b, as_tile, "cupy", keep_on_device=True)
        wait([second], timeout=0.5)  # long enough for it to fill the slot, if it may
        go_on.set()
        assert_product(second.result(60).get(), a[20:175], b[:, 60:200])


def too_narrow(x: NDArray[Any]) -> NDArray[Any]:
    """A chunk, or one that is found to lack a column when what lies above it is on its way."""
    return as_tile(x)[:, :-1] if len(x) == A_CHUNKS[0][1] else as_tile(x)
