"""Page-locking on a GPU machine."""

import numpy as np
import pytest

from memory.peers import Peer, make
from overspill import memory
from overspill.memory import registry
from overspill.memory.tile import from_handle

pytestmark = pytest.mark.gpu

N = 200_000


def test_a_tile_and_its_views_are_locked_and_ordinary_arrays_are_not() -> None:
    from overspill.memory.pinning import pin

    x = memory.empty((N,), float)
    assert pin(x)
    assert pin(x[5:]) and pin(x.reshape(100, -1).T)
    assert not pin(np.ones(N))
    assert not pin(x[:0])


def test_pages_are_made_without_being_locked() -> None:
    from overspill.memory.pinning import is_locked, pin, populate

    x = memory.empty((N,), float)
    for made in (x, np.ones(N)):  # of ordinary arrays the system takes care
        populate(made)
        assert not is_locked(made)
    assert pin(x)
    populate(x)
    assert is_locked(x[5:])


def test_a_recycled_block_stays_locked() -> None:
    from overspill.memory.pinning import pin

    x = memory.empty((N,), float)
    segment, _ = registry.find(x)
    pin(x)
    del x
    y = memory.empty((N,), float)
    assert registry.find(y)[0] is segment
    assert segment.pinned
    assert len(segment.before_unmap) == 1
    assert pin(y)
    assert len(segment.before_unmap) == 1


def test_a_block_on_disk_is_not_locked() -> None:
    from overspill.memory.pinning import pin

    memory.configure(pool_nbytes=0)
    assert not pin(memory.empty((N,), float))


def test_a_borrowed_tile_is_locked_and_copied_from(peer: Peer) -> None:
    import cupy

    from overspill.memory.pinning import pin

    x = from_handle(peer(make, "x", N, 3.0))
    assert pin(x)
    copied = cupy.empty(N)
    # Not cupy.asarray, which holds on to its source for a while.
    cupy.cuda.runtime.memcpy(copied.data.ptr, x.ctypes.data, x.nbytes, cupy.cuda.runtime.memcpyHostToDevice)
    assert float(copied.sum()) == 3 * N


def test_locked_memory_is_unlocked_before_it_is_given_back() -> None:
    import cupy

    from overspill.memory.pinning import pin

    for _ in range(3):
        x = memory.empty((N,), float)
        assert pin(x)
        del x
        memory.close()
    cupy.cuda.runtime.deviceSynchronize()
