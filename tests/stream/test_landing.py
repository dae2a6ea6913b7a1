"""Tiles that come down from a GPU, whether their pages are locked yet or not."""

from typing import Any

import numpy as np
import pytest

from overspill import memory

pytestmark = pytest.mark.gpu

SHAPE = (37, 4096)


def landed(dtype: str, unlocked: Any = None) -> tuple[Any, Any]:
    """A tile brought down in bands, and what it must be."""
    import cupy

    from overspill.planning.grid import intervals
    from overspill.stream.landing_cuda import Landing, Unlocked

    x = (cupy.arange(SHAPE[0] * SHAPE[1], dtype=np.float32) % 1009).reshape(SHAPE)
    stream = cupy.cuda.Stream(non_blocking=True)
    finished = [(slice(start, stop), cupy.cuda.Stream.null.record()) for start, stop in intervals((20, 9, 8))]
    landing = Landing(SHAPE, dtype, unlocked or Unlocked())
    with stream:
        landing.bring(finished, x.__getitem__, stream)
    return landing.tile, x.get().astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_new_tile_comes_through_buffers(monkeypatch: pytest.MonkeyPatch, rows: int, dtype: str) -> None:
    from overspill.stream import landing_cuda

    row_nbytes = SHAPE[1] * np.dtype(dtype).itemsize
    monkeypatch.setattr(landing_cuda, "landing_nbytes", lambda nbytes: landing_cuda.BUFFERS * rows * row_nbytes)
    tile, expected = landed(dtype)
    assert memory.is_tile(tile) and np.array_equal(tile, expected)


def test_a_tile_is_locked_at_the_next_occasion_and_stays_so() -> None:
    from overspill.memory.pinning import is_locked
    from overspill.stream import landing_cuda

    unlocked = landing_cuda.Unlocked()
    landed("float32", unlocked)  # used no more when there is time for it
    unlocked.lock()
    unlocked.wait()
    first, expected = landed("float32", unlocked)
    assert not is_locked(first)
    unlocked.lock()
    unlocked.wait()
    assert is_locked(first)
    address = first.ctypes.data
    del first
    second, _ = landed("float32", unlocked)
    assert second.ctypes.data == address and is_locked(second) and np.array_equal(second, expected)


def test_what_is_too_small_for_a_tile_comes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.tile, "SMALLEST_NBYTES", 2**30)
    x, expected = landed("float32")
    assert not memory.is_tile(x) and np.array_equal(x, expected)
