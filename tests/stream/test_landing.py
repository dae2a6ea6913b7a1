"""Tiles that come down from a GPU, whether their pages are locked yet or not."""

import threading
from typing import Any

import numpy as np
import pytest

from overspill import memory
from overspill.planning.grid import even, intervals

pytestmark = pytest.mark.gpu

SHAPE = (37, 32768)
BANDS = (20, 9, 8)


@pytest.fixture(autouse=True)
def fresh() -> None:
    """No block is recycled: it might be locked already."""
    memory.close()


def landed(dtype: str, unlocked: Any = None) -> tuple[Any, Any]:
    """A tile brought down in bands, through one place on the GPU, and what it must be."""
    import cupy

    from overspill.stream.landing_cuda import Landing, Unlocked

    x = (cupy.arange(SHAPE[0] * SHAPE[1], dtype=np.float32) % 1009).reshape(SHAPE)
    leaving = cupy.empty(SHAPE, dtype)
    stream = cupy.cuda.Stream(non_blocking=True)
    finished = [(slice(start, stop), cupy.cuda.Stream.null.record()) for start, stop in intervals(BANDS)]

    def rows(piece: slice) -> Any:
        height = piece.stop - piece.start
        leaving[:height] = x[piece]
        return leaving[:height]

    with stream:
        landing = Landing(SHAPE, dtype, unlocked or Unlocked(bool), rows)
        landing.bring(finished, rows, stream)
    return landing.tile, x.get().astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_new_tile_comes_through_buffers(monkeypatch: pytest.MonkeyPatch, rows: int, dtype: str) -> None:
    from overspill.stream import landing_cuda

    emptied: list[int] = []
    land = landing_cuda._land
    monkeypatch.setattr(landing_cuda, "landing_rows", lambda of_tile, row_nbytes: min(of_tile, rows))
    monkeypatch.setattr(landing_cuda, "_land", lambda *args: emptied.append(len(args[-1])) or land(*args))
    tile, expected = landed(dtype)
    assert memory.is_tile(tile) and np.array_equal(tile, expected)
    assert emptied == [size for band in BANDS for size in even(band, rows)]


def test_a_tile_is_locked_when_the_gpu_rests_and_stays_so() -> None:
    from overspill.memory.pinning import is_locked
    from overspill.stream import landing_cuda

    resting = False
    unlocked = landing_cuda.Unlocked(lambda: resting)

    def lock() -> None:
        unlocked.lock()
        if thread := unlocked.thread:
            thread.join(timeout=10)
        assert unlocked.thread is None

    first, expected = landed("float32", unlocked)
    lock()
    assert not is_locked(first), "while the GPU works"
    landed("float64", unlocked)  # used no more when there is time for it
    resting = True
    lock()
    assert is_locked(first)
    address = first.ctypes.data
    del first
    second, _ = landed("float32", unlocked)
    assert second.ctypes.data == address and is_locked(second) and np.array_equal(second, expected)


def test_a_tile_is_locked_when_its_memory_is_used_again() -> None:
    from overspill.memory.pinning import is_locked

    first, _ = landed("float32")
    assert not is_locked(first)
    address = first.ctypes.data
    del first
    second, expected = landed("float32")
    assert second.ctypes.data == address and is_locked(second) and np.array_equal(second, expected)


def test_the_gpu_rests_when_all_that_is_queued_is_done_and_nothing_goes_up() -> None:
    from overspill.stream.cuda import CUDA

    where, go_on = CUDA(), threading.Event()
    assert where.unlocked._rests()
    with where.link:
        assert not where.unlocked._rests()
    where.computing.launch_host_func(lambda _: go_on.wait(60), None)
    try:
        assert not where.unlocked._rests()
    finally:
        go_on.set()
    where.computing.synchronize()
    assert where.unlocked._rests()


def test_what_cannot_be_locked_comes_without_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    from overspill.stream import landing_cuda

    monkeypatch.setattr(landing_cuda, "pin", lambda x: False)
    monkeypatch.setattr(landing_cuda, "is_locked", lambda x: False)
    monkeypatch.setattr(landing_cuda, "_land", None)
    tile, expected = landed("float32")
    assert np.array_equal(tile, expected)


def test_what_is_too_small_for_a_tile_comes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.tile, "SMALLEST_NBYTES", 2**30)
    x, expected = landed("float32")
    assert not memory.is_tile(x) and np.array_equal(x, expected)
