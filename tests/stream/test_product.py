"""One output tile, whatever its chunks are: the same body for both devices."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cases import assert_product, matrix
from overspill import memory
from overspill.backend import is_device_array, to_numpy
from overspill.memory import ledger
from overspill.planning.arithmetic import SUPPORTED, arithmetic
from overspill.planning.grid import bounds, cover, even, intervals
from overspill.stream.device import TileShape, device
from overspill.stream.product import TileTask, multiply_tile
from overspill.stream.strip import Part, Reread
from overspill.stream.turn import Turn

SIDES = ["numpy", pytest.param("cupy", marks=pytest.mark.gpu)]

M, K, N = 190, 260, 210
A_CHUNKS, B_CHUNKS = ((70, 90, 30), (100, 120, 40)), ((50, 200, 10), (110, 100))


def as_tile(x: NDArray[Any]) -> NDArray[Any]:
    tile = memory.empty(x.shape, x.dtype)
    tile[...] = x
    return tile


def stream_class(side: Any) -> Any:
    if side == "numpy":
        from overspill.stream.cpu import CPUTileStream

        return CPUTileStream
    from overspill.stream.cuda import CUDATileStream

    return CUDATileStream


def on_device(x: NDArray[Any]) -> Any:
    import cupy

    return cupy.asarray(x)


def reread(kind: Any) -> Callable[[NDArray[Any]], Reread]:
    return lambda x: Reread("x", {"x": (x.copy,)}, kind)


SOURCES: dict[str, Callable[[NDArray[Any]], Any]] = {
    "tiles": as_tile,
    "views of tiles": lambda x: as_tile(np.pad(x, 3))[3:-3, 3:-3],
    "ordinary": np.array,
    "transposed": lambda x: np.array(x.T).T,
    "transposed tiles": lambda x: as_tile(x.T).T,
    "backwards": lambda x: np.array(x[::-1, ::-1])[::-1, ::-1],
    "steps": lambda x: np.repeat(np.repeat(x, 2, axis=0), 2, axis=1)[::2, ::2],
    "recomputed": reread("recompute"),
    "read": reread("disk"),
}

DEVICE_SOURCES: dict[str, Callable[[NDArray[Any]], Any]] = {
    "CuPy": on_device,
    "transposed CuPy": lambda x: on_device(x.T).T,
    "views of CuPy": lambda x: on_device(np.pad(x, 3))[3:-3, 3:-3],
    "backwards CuPy": lambda x: on_device(x[::-1, ::-1])[::-1, ::-1],
    "steps of CuPy": lambda x: on_device(np.repeat(np.repeat(x, 2, axis=0), 2, axis=1))[::2, ::2],
    "recomputed CuPy": lambda x: Reread("x", {"x": (on_device, x)}, "recompute"),
}


def multiply(
    a: NDArray[Any],
    b: NDArray[Any],
    make: Callable[[NDArray[Any]], Any],
    side: Any,
    *,
    tile: tuple[tuple[int, int], tuple[int, int]] = ((20, 175), (60, 200)),
    width: int = 90,
    panels: tuple[int, ...] = (),
    keep_on_device: bool = False,
    first: tuple[int, int] | None = None,
    a_chunks: tuple[tuple[int, ...], tuple[int, ...]] = A_CHUNKS,
    b_chunks: tuple[tuple[int, ...], tuple[int, ...]] = B_CHUNKS,
) -> Any:
    """The rows and columns `tile` of ``a @ b``, its chunks made by `make`."""
    row_pieces, column_pieces = cover(bounds(a_chunks[0]), *tile[0]), cover(bounds(b_chunks[1]), *tile[1])
    shape = tile[0][1] - tile[0][0], tile[1][1] - tile[1][0]
    widths = panels or even(a.shape[1], width)
    task = TileTask(
        TileShape(shape, (shape[0] + 7, shape[1] + 11), max(widths)),
        a.dtype.name,
        row_pieces,
        column_pieces,
        bounds(a_chunks[1]),
        bounds(b_chunks[0]),
        intervals(widths),
        side,
        keep_on_device,
        first,
    )
    a_rows, b_columns = intervals(a_chunks[0]), intervals(b_chunks[1])
    a_strip = [[make(a[slice(*a_rows[p.chunk]), slice(*ks)]) for ks in intervals(a_chunks[1])] for p in row_pieces]
    b_strip = [
        [make(b[slice(*ks), slice(*b_columns[p.chunk])]) for ks in intervals(b_chunks[0])] for p in column_pieces
    ]
    return multiply_tile(task, a_strip, b_strip)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("dtype", SUPPORTED)
@pytest.mark.parametrize("source", SOURCES)
def test_a_tile_is_numpys_product(side: str, dtype: str, source: str) -> None:
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    c = multiply(a, b, SOURCES[source], side)
    assert_product(c, a[20:175], b[:, 60:200])
    assert type(c) is np.ndarray


@pytest.mark.gpu
@pytest.mark.parametrize("keep_on_device", [False, True])
@pytest.mark.parametrize("dtype", SUPPORTED)
@pytest.mark.parametrize("source", DEVICE_SOURCES)
def test_chunks_on_a_gpu_make_a_tile_on_either_side(keep_on_device: bool, dtype: str, source: str) -> None:
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    c = multiply(a, b, DEVICE_SOURCES[source], "cupy", keep_on_device=keep_on_device)
    assert is_device_array(c) == keep_on_device
    assert_product(to_numpy(c), a[20:175], b[:, 60:200])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", SUPPORTED)
@pytest.mark.parametrize("source", ["tiles", "ordinary", "recomputed"])
def test_host_chunks_make_a_tile_on_the_gpu(dtype: str, source: str) -> None:
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    kept = [multiply(a, b, SOURCES[source], "cupy", keep_on_device=True) for _ in range(3)]
    for c in kept:
        assert is_device_array(c)
        assert_product(to_numpy(c), a[20:175], b[:, 60:200])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64", "int32", "bool"])
@pytest.mark.parametrize("source", ["tiles", "transposed tiles", "ordinary"])
@pytest.mark.parametrize("rows", [1, 50, 154, 155, 156])
def test_a_tile_goes_down_in_bands_of_any_height(
    monkeypatch: pytest.MonkeyPatch, dtype: str, source: str, rows: int
) -> None:
    from overspill.stream import cuda

    monkeypatch.setattr(cuda, "bands", lambda height, columns: even(height, rows))
    a, b = matrix((M, K), dtype, 1), matrix((K, N), dtype, 2)
    assert_product(multiply(a, b, SOURCES[source], "cupy"), a[20:175], b[:, 60:200])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("panels", [(260,), (60, 100, 100)])
def test_room_is_made_once_when_the_first_product_is_queued(
    monkeypatch: pytest.MonkeyPatch, side: Any, panels: tuple[int, ...]
) -> None:
    called, kind = list[str](), stream_class(side)

    def note(name: str) -> None:
        call = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *args, **options: called.append(name) or call(*args, **options))

    for name in ("multiply", "make_room", "download"):
        note(name)
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    multiply(a, b, as_tile, side, panels=panels)
    assert called[0] == "multiply"
    assert called[-1] == "download"
    assert sorted(called[1:-1]) == ["make_room", *["multiply"] * (len(panels) - 1)]


@pytest.mark.parametrize("side", SIDES)
def test_a_task_without_room_fails_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, side: Any) -> None:
    def full(stream: Any) -> None:
        raise MemoryError("there is no room")

    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    with monkeypatch.context() as patched:
        patched.setattr(stream_class(side), "make_room", full)
        with pytest.raises(MemoryError, match="no room"):
            multiply(a, b, as_tile, side)
    assert not [thread.name for thread in threading.enumerate() if "-room" in thread.name or "-upload" in thread.name]
    assert_product(multiply(a, b, as_tile, side), a[20:175], b[:, 60:200])


@pytest.mark.gpu
def test_tasks_that_have_their_panels_multiply_one_after_the_other() -> None:
    """While somebody has the turn a task that could multiply waits; one that makes its panels as it goes does not."""
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    with ThreadPoolExecutor(2) as threads:
        with device("cupy").turn:
            waiting = threads.submit(multiply, a, b, as_tile, "cupy")
            c = threads.submit(multiply, a, b, reread("disk"), "cupy").result(timeout=60)
            assert_product(c, a[20:175], b[:, 60:200])
            assert not waiting.done()
        assert_product(waiting.result(timeout=60), a[20:175], b[:, 60:200])


@pytest.mark.gpu
def test_what_was_queued_before_a_failure_is_done_before_buffers_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    from overspill.stream import cuda

    go_on = threading.Event()

    def failing(*args: Any, **options: Any) -> None:
        cupy.cuda.get_current_stream().launch_host_func(lambda _: go_on.wait(60), None)
        raise MemoryError

    monkeypatch.setattr(cuda.gemm_cuda, "gemm", failing)
    where, x = device("cupy"), as_tile(matrix((M, K), "float64", 1))
    per_element = arithmetic("float64", "cuda")
    stream = where.open(TileShape((M, M), (M, M), K), "float64", per_element, keep_on_device=True, in_turn=True)
    with ThreadPoolExecutor(1) as threads:
        try:
            panels = [stream.upload(operand, 0, [Part(x, 0, 0)], (M, K)) for operand in (0, 1)]
            with pytest.raises(MemoryError):
                stream.multiply(0, *panels)
            assert not stream._multiplied.done, "close would not wait"
        finally:
            closing = threads.submit(stream.close)
            go_on.set()
        closing.result(timeout=60)
    assert where.computing.done


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("width", [1, 16, 89, 260])
@pytest.mark.parametrize(
    "tile", [((0, 1), (0, 1)), ((0, 190), (0, 210)), ((69, 71), (109, 111)), ((70, 160), (0, 110))]
)
def test_any_tile_and_any_panels_will_do(side: str, width: int, tile: Any) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    c = multiply(a, b, as_tile, side, tile=tile, width=width)
    assert_product(c, a[slice(*tile[0])], b[:, slice(*tile[1])])


@pytest.mark.parametrize("side", SIDES)
def test_chunks_of_mixed_order_share_a_panel(side: str) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    turn = iter(range(100))
    c = multiply(a, b, lambda x: as_tile(x) if next(turn) % 2 else np.asfortranarray(x), side)
    assert_product(c, a[20:175], b[:, 60:200])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("n", [1, 2])
def test_a_vector_is_a_narrow_matrix(side: str, n: int) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, n), "float64", 2)
    c = multiply(a, b, np.array, side, tile=((0, M), (0, n)), b_chunks=((50, 200, 10), (n,)))
    assert_product(c, a, b)


@pytest.mark.parametrize("side", SIDES)
def test_a_large_tile_lies_in_the_pool(side: str) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    assert memory.is_tile(multiply(a, b, as_tile, side))


@pytest.mark.parametrize("side", SIDES)
def test_the_ledger_counts_what_was_done(side: str) -> None:
    a, b = matrix((M, K), "float32", 1), matrix((K, N), "float32", 2)
    ledger.reset()
    multiply(a, b, reread("disk"), side)
    found = ledger.snapshot()
    assert (found["tasks"], found["flop"]) == (1, 2 * 155 * 140 * K)
    assert (found["uploaded_nbytes"], found["downloaded_nbytes"]) == (4 * K * (155 + 140), 4 * 155 * 140)
    assert found["read_nbytes"] == 4 * K * (190 + 210)
    assert found["recomputed_nbytes"] == 0


@pytest.mark.parametrize("side", SIDES)
def test_buffers_are_made_once_and_used_again(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    buffers = device(side).buffers
    multiply(a, b, as_tile, side)
    made: list[int] = []
    allocate = buffers._allocate
    monkeypatch.setattr(buffers, "_allocate", lambda nbytes: made.append(nbytes) or allocate(nbytes))
    for _ in range(3):
        multiply(a, b, as_tile, side)
    assert made == []


@pytest.mark.parametrize("side", SIDES)
def test_a_source_that_fails_fails_the_task_and_leaves_the_device_fit(side: str) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    turn = iter(range(100))

    def fail_later(x: NDArray[Any]) -> Any:
        if next(turn) == 3:
            return Reread("x", {"x": (lambda: 1 / 0,)}, "disk")
        return as_tile(x)

    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        multiply(a, b, fail_later, side)
    assert threading.active_count() <= threads
    assert_product(multiply(a, b, as_tile, side), a[20:175], b[:, 60:200])


@pytest.mark.parametrize("side", SIDES)
def test_threads_share_a_device(side: str) -> None:
    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    tiles: list[Any] = []

    def work() -> None:
        tiles.extend(multiply(a, b, as_tile, side) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tiles) == 15
    for c in tiles:
        assert_product(c, a[20:175], b[:, 60:200])


def test_the_next_panel_is_uploaded_while_one_is_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the product of panel k waits for the upload of panel k + 1 to begin: without overlap it never ends."""
    from overspill.stream.cpu import CPUTileStream

    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    begun = threading.Semaphore(0)
    upload, multiply_panel = CPUTileStream.upload, CPUTileStream.multiply
    products = iter(range(100))

    def noted_upload(self: Any, operand: Any, *args: Any) -> Any:
        if operand == 0:
            begun.release()
        return upload(self, operand, *args)

    def waiting_multiply(self: Any, *args: Any, **options: Any) -> None:
        if next(products) == 0:
            assert begun.acquire(timeout=30), "the first panel"
        assert begun.acquire(timeout=30), "the next panel is not on its way"
        multiply_panel(self, *args, **options)

    monkeypatch.setattr(CPUTileStream, "upload", noted_upload)
    monkeypatch.setattr(CPUTileStream, "multiply", waiting_multiply)
    panels = len(even(K, 90))
    begun.release()  # there is none after the last
    c = multiply(a, b, as_tile, "numpy")
    assert next(products) == panels
    assert_product(c, a[20:175], b[:, 60:200])


def test_a_task_s_panels_go_up_while_the_one_before_multiplies_its_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the first task's last product waits for the second's first upload, and no upload may come in between."""
    from overspill.stream.cpu import CPUTileStream

    a, b = matrix((M, K), "float64", 1), matrix((K, N), "float64", 2)
    monkeypatch.setattr(device("numpy"), "link", Turn())
    monkeypatch.setattr(device("numpy"), "turn", Turn())
    uploads: list[int] = []
    second = threading.Event()
    upload, multiply_panel = CPUTileStream.upload, CPUTileStream.multiply

    def noted_upload(self: Any, *args: Any) -> Any:
        uploads.append(id(self))
        if uploads[0] != id(self):
            second.set()
        return upload(self, *args)

    def waiting_multiply(self: Any, *args: Any, last: bool) -> None:
        if last:
            assert second.wait(timeout=30), "nobody uploads"
        multiply_panel(self, *args, last=last)

    monkeypatch.setattr(CPUTileStream, "upload", noted_upload)
    monkeypatch.setattr(CPUTileStream, "multiply", waiting_multiply)
    with ThreadPoolExecutor(2) as threads:
        for task in [threads.submit(multiply, a, b, as_tile, "numpy") for _ in range(2)]:
            assert_product(task.result(timeout=60), a[20:175], b[:, 60:200])
    half = len(uploads) // 2
    assert len(set(uploads[:half])) == len(set(uploads[half:])) == 1


@pytest.mark.parametrize("side", SIDES)
def test_chunks_of_another_float_type_than_declared_are_converted(side: Any) -> None:
    a, b = (matrix(shape, "float32", seed).astype(float) for seed, shape in enumerate(((M, K), (K, N))))
    c = multiply(a, b, lambda x: as_tile(x.astype(np.float32)), side)
    assert_product(c, a[20:175], b[:, 60:200])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_a_result_kept_on_the_device_waits_for_what_its_memory_was_used_for(dtype: str) -> None:
    """Memory that CuPy hands out again may still be read by kernels that are queued on the stream it was freed on."""
    import cupy

    side = 4096
    chunks = ((side,), (side,))
    ones = as_tile(np.ones((side, side), dtype))
    busy = cupy.ones((side, side))
    for _ in range(5):
        source = cupy.ones((side, side), dtype)
        for _ in range(20):
            busy @ busy
        copied = source + source.dtype.type(1)
        del source
        multiply(
            ones,
            ones,
            lambda x: x,
            "cupy",
            tile=((0, side), (0, side)),
            width=side,
            keep_on_device=True,
            a_chunks=chunks,
            b_chunks=chunks,
        )
        assert float(copied.max()) == float(copied.min()) == 2
