"""The GPU as the store's device: where arrays lie, copies in the right order, room made before there is an error."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from overspill import memory
from overspill.memory import tile
from overspill.memory.store.accounts import holdings
from overspill.memory.store.meter import Meter
from overspill.memory.store.packing import pack, unpack

pytestmark = pytest.mark.gpu

MIB = 2**20


class Reclaim:
    """Frees what it was given to hold, one array a call, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.asked: list[tuple[int, bool]] = []

    def __call__(self, nbytes: int, *, temporary: bool) -> bool:
        self.asked.append((nbytes, temporary))
        if not self.held:
            return False
        self.held.pop()
        return True


@pytest.fixture
def device() -> Iterator[Any]:
    import cupy

    from overspill.memory.store.cuda import CUDADevice

    cupy.get_default_memory_pool().free_all_blocks()
    device = CUDADevice()
    device.limit_nbytes = 256 * MIB
    device.reclaim = Reclaim()
    device.install(device.reclaim, Meter())
    yield device
    device.uninstall()


def busy() -> Any:
    """Queue a third of a second's work that takes no memory; the event after it."""
    import cupy

    wait = cupy.RawKernel(
        """extern "C" __global__ void wait(long long nanoseconds) {
            long long begin, now;
            asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
            do { asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); } while (now - begin < nanoseconds);
        }""",
        "wait",
    )
    wait((1,), (1,), (np.int64(333_000_000),))
    event = cupy.cuda.Event()
    event.record()
    return event


def test_views_share_an_allocation(device: Any) -> None:
    import cupy

    x = cupy.arange(6000.0).reshape(60, 100)
    views = [x, x[3:7], x.T, x[::-1], x[:, ::-2], x[5, 5:6]]
    spans = [device.span(view) for view in views]
    assert len({span.allocation for span in spans}) == 1
    for view, span in zip(views, spans, strict=True):
        assert span.stop - span.start >= view.nbytes
        assert 0 <= span.start <= span.first < span.stop <= span.allocation_nbytes
    assert sum(nbytes for _, nbytes in holdings(views, device).device) == spans[0].allocation_nbytes


def test_round_trip(device: Any) -> None:
    import cupy
    import cupyx.scipy.sparse as sparse

    x = cupy.random.default_rng(1).random((300, 200))
    matrix = sparse.random(500, 400, density=0.05, format="csr", random_state=2)
    value = {"x": x, "views": [x[10:20], x[::-1, ::3], x.T], "matrix": matrix, "empty": cupy.empty((0, 3)), "n": 7}
    packed = pack(value, device, device.mark())
    assert packed.from_device
    got = unpack(packed, device)
    cupy.testing.assert_array_equal(got["x"], x)
    for mine, theirs in zip(got["views"], value["views"], strict=True):
        cupy.testing.assert_array_equal(mine, theirs)
        assert mine.strides == theirs.strides
    assert got["views"][0].data.mem is got["x"].data.mem
    assert (got["matrix"] != matrix).nnz == 0
    assert got["empty"].shape == (0, 3)
    assert got["n"] == 7


def test_a_copy_down_waits_for_the_kernel_that_computes_its_source(device: Any) -> None:
    import cupy

    for value in range(20):
        x = cupy.zeros(16 * MIB // 4, "float32")
        for _ in range(50):
            x += 1
        x *= value
        packed = pack(x, device, device.mark())
        np.testing.assert_array_equal(packed.frames[0].view("float32"), np.float32(50 * value))


def test_kernels_wait_for_the_copies_up_before_them_and_copies_for_the_kernels_that_still_read(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from overspill.memory.store import memory_cuda

    monkeypatch.setattr(memory_cuda, "SPARE", 0)
    frames = []
    for value in range(4):
        frame = memory.empty((16 * MIB,), np.uint8)
        frame.view("float32")[:] = value
        frames.append(frame)
    sums = []
    for turn in range(200):
        # Each block is let go with its kernels still queued, and taken again by one of the next copies.
        block = device.upload(frames[turn % 4])
        x = device.view(block, 0, (4 * MIB,), (4,), np.dtype("float32"))
        for _ in range(5):
            y = x * 2
        sums.append(y.max() + x.min())
        del block, x, y
    assert [float(got) for got in sums] == [3.0 * (turn % 4) for turn in range(200)]


def test_pages_that_cannot_be_locked_are_copied_all_the_same(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    def refuse(*_: Any) -> None:
        raise cupy.cuda.runtime.CUDARuntimeError(2)

    memory.close()
    monkeypatch.setattr(cupy.cuda.runtime, "hostRegister", refuse)
    x = cupy.arange(4 * MIB, dtype="float64")
    with pytest.warns(RuntimeWarning, match="cannot page-lock .*ulimit -l"):
        packed = pack(x, device, device.mark())
    cupy.testing.assert_array_equal(unpack(packed, device), x)


def test_a_frame_is_kept_until_it_has_been_copied(device: Any) -> None:
    import cupy

    cupy.cuda.Device().synchronize()
    busy = cupy.ones((4096, 4096))
    for _ in range(20):
        busy = busy @ busy * 1e-4
    x = cupy.zeros(64 * MIB // 8)
    mark = device.mark()
    frame = memory.empty((32 * MIB,), np.uint8)
    frame[:] = 1
    device._up.wait_event(mark)
    block = device.upload(frame)
    del frame
    other = memory.empty((32 * MIB,), np.uint8)
    other[:] = 9
    got = device.view(block, 0, (32 * MIB,), (1,), np.dtype("uint8"))
    assert int(got.max()) == 1
    assert float(x.sum()) == 0


def test_copies_up_are_queued_so_far_ahead_and_no_further(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from overspill.memory.store import cuda

    monkeypatch.setattr(cuda, "MOST_QUEUED_NBYTES", 48 * MIB)
    frame = memory.empty((16 * MIB,), np.uint8)
    finished = busy()
    device._up.wait_event(finished)
    lengths = []
    for _ in range(8):
        device.upload(frame)
        lengths.append(len(device._in_flight))
    assert max(lengths) == 3
    assert finished.done


def test_an_allocation_past_the_limit_asks_for_room_first(device: Any) -> None:
    import cupy

    device.reclaim.held = [cupy.empty(64 * MIB, "uint8") for _ in range(4)]
    cupy.empty(64 * MIB, "uint8")
    assert device.reclaim.asked == [(64 * MIB, True)]
    assert len(device.reclaim.held) == 3
    assert device.allocated_nbytes() <= device.limit_nbytes


def test_a_limit_that_is_met_keeps_nobody_waiting_for_the_device(device: Any) -> None:
    import cupy

    finished = busy()
    device.reclaim.held = [cupy.empty(64 * MIB, "uint8") for _ in range(4)]
    assert not device.reclaim.asked
    x = cupy.empty(64 * MIB, "uint8")
    assert device.reclaim.asked == [(x.nbytes, True)]
    assert not finished.done


def test_small_arrays_leave_large_free_pieces_whole(device: Any) -> None:
    import cupy

    from overspill.memory.store.pool_cuda import SLAB_NBYTES

    total = device.allocated_nbytes()
    kept = []
    for _ in range(20):
        x = cupy.empty(64 * MIB, "uint8")
        del x
        kept.append(cupy.empty(8, "uint8"))
    assert device.allocated_nbytes() <= total + 64 * MIB + SLAB_NBYTES


def test_an_allocator_that_was_chosen_stays() -> None:
    import cupy

    from overspill.memory.store.cuda import CUDADevice

    asked = []

    def allocate(nbytes: int) -> Any:
        asked.append(nbytes)
        return default(nbytes)

    default, device = cupy.cuda.get_allocator(), CUDADevice()
    cupy.cuda.set_allocator(allocate)
    try:
        device.install(Reclaim(), Meter())
        x = cupy.empty(3 * MIB, "uint8")
        device.uninstall()
        assert cupy.cuda.get_allocator() is allocate
    finally:
        cupy.cuda.set_allocator(default)
    assert asked == [x.nbytes]


def test_with_nothing_to_evict_the_limit_is_passed_rather_than_a_task_failed(device: Any) -> None:
    import cupy

    x = cupy.ones(300 * MIB, "uint8")
    assert device.reclaim.asked
    assert int(x[-1]) == 1
    del x
    # At the next look, which workers take with every heartbeat, what is past the limit has been given back.
    assert device.allocated_nbytes() <= device.limit_nbytes


def test_more_than_the_device_has_is_an_error_that_says_so(device: Any) -> None:
    import cupy

    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        cupy.empty(10**13, "uint8")


def test_blocks_that_lie_idle_serve_other_sizes(device: Any) -> None:
    import cupy

    frame = memory.empty((100 * MIB,), np.uint8)
    for _ in range(3):
        device.upload(frame)
    x = cupy.empty(200 * MIB, "uint8")
    assert device.allocated_nbytes() <= device.limit_nbytes
    del x


def test_without_a_store_nothing_is_kept() -> None:
    """As in a client that gathers what a worker has spilled."""
    import cupy

    from overspill.memory.store.cuda import CUDADevice

    pool = cupy.get_default_memory_pool()
    taken, lent = pool.used_bytes(), tile.pool().used_nbytes()
    device = CUDADevice()
    frame = memory.empty((16 * MIB,), np.uint8)
    frame[:] = 3
    block = device.upload(frame)
    del frame
    assert tile.pool().used_nbytes() == lent
    assert int(device.view(block, 0, (16 * MIB,), (1,), np.dtype("uint8")).max()) == 3
    assert pool.used_bytes() > taken
    del block
    assert pool.used_bytes() == taken


@pytest.mark.multi_gpu
def test_arrays_of_another_gpu_are_pickled_as_cupy_does_it(device: Any) -> None:
    import cupy

    with cupy.cuda.Device(1):
        x = cupy.arange(MIB, dtype="float64") * 2
    assert not device.is_array(x)
    packed = pack(x, device, device.mark())
    assert not packed.from_device
    np.testing.assert_array_equal(unpack(packed, device).get(), np.arange(MIB) * 2.0)


def test_uninstalled_it_leaves_cupy_as_it_was() -> None:
    import cupy

    from overspill.memory.store.cuda import CUDADevice

    before = cupy.cuda.get_allocator()
    device = CUDADevice()
    device.install(Reclaim(), Meter())
    assert cupy.cuda.get_allocator() != before
    device.uninstall()
    assert cupy.cuda.get_allocator() == before
