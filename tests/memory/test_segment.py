from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memory.peers import Peer, borrow, close, drop, handle, make
from overspill.errors import StaleTileError
from overspill.memory.segment import HUGE_PAGE, PAGE, Lease, Segment, open_leased, supported
from overspill.memory.tile import from_handle

N = 20_000


def test_linux_shares_memory() -> None:
    assert supported()


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_segment_is_zeros_of_whole_pages_and_generation_0(on_disk: bool, tmp_path: Path) -> None:
    segment = Segment.create(3 * PAGE, str(tmp_path) if on_disk else None)
    lease = Lease(segment, readonly=False, release=lambda _: None, argument=None)
    x = np.asarray(lease)
    assert (x.nbytes, x.any(), segment.generation, segment.truncated) == (3 * PAGE, False, 0, False)
    x[-1] = 255
    assert segment.generation == 0, "the generation lies behind the data"
    del x, lease
    segment.close(truncate=True)


def flags(address: int) -> list[str]:
    """What the kernel has noted of the mapping that begins there."""
    text = Path("/proc/self/smaps").read_text()
    mapping = text[text.index(f"{address:x}-") :]
    return mapping[mapping.index("VmFlags:") :].splitlines()[0].split()[1:]


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the kernel knows no huge pages")
def test_whole_huge_pages_are_asked_for_and_no_more() -> None:
    large, small = Segment.create(HUGE_PAGE + 3 * PAGE), Segment.create(HUGE_PAGE - PAGE)
    assert "hg" in flags(large.address)
    assert "hg" not in flags(large.address + HUGE_PAGE) and "hg" not in flags(small.address)
    for segment in (large, small):
        segment.close(truncate=True)


def test_a_lease_elsewhere_is_seen_and_ends_with_its_descriptor() -> None:
    import os

    segment = Segment.create(PAGE)
    assert segment.free_elsewhere()
    segment.begin_use()
    fd = open_leased(segment.handle)
    assert not segment.free_elsewhere()
    os.close(fd)
    assert segment.free_elsewhere()
    segment.close()


def test_a_block_that_its_owner_has_taken_back_cannot_be_opened() -> None:
    segment = Segment.create(PAGE)
    segment.begin_use()
    handle = segment.handle
    assert segment.free_elsewhere()
    with pytest.raises(StaleTileError, match="recycled"):
        open_leased(handle)
    segment.begin_use()
    with pytest.raises(StaleTileError, match="recycled"):
        open_leased(handle)
    segment.close(truncate=True)
    with pytest.raises(StaleTileError):
        open_leased(handle)


@pytest.mark.parametrize("changed", [{"generation": 99}, {"file": (0, 0)}, {"fd": 10_000}, {"pid": 2**22 + 1}])
def test_a_handle_that_is_not_of_this_block_is_refused(changed: dict[str, int]) -> None:
    segment = Segment.create(PAGE)
    segment.begin_use()
    with pytest.raises(StaleTileError):
        open_leased(replace(segment.handle, **changed))
    assert segment.free_elsewhere(), "a refusal leaves no lease"
    segment.close()


def test_a_handle_of_a_recycled_block_is_stale_and_never_other_data(peer: Peer) -> None:
    stale = peer(make, "x", N, 1.0)
    peer(drop, "x")
    fresh = peer(make, "y", N, 2.0)
    assert (stale.segment.file, stale.segment.fd) == (fresh.segment.file, fresh.segment.fd), "the same block"
    with pytest.raises(StaleTileError, match="recycled before its handle arrived"):
        from_handle(stale)
    assert (from_handle(fresh) == 2).all()


def test_a_handle_of_memory_given_back_is_stale(peer: Peer) -> None:
    stale = peer(make, "x", N, 1.0)
    peer(drop, "x")
    peer(close)
    with pytest.raises(StaleTileError):
        from_handle(stale)


def test_a_handle_of_a_dead_process_is_stale(peer: Peer) -> None:
    stale = peer(make, "x", N, 1.0)
    peer.kill()
    with pytest.raises(StaleTileError, match="the process is gone"):
        from_handle(stale)


def test_dask_takes_a_stale_handle_for_a_lost_worker() -> None:
    assert issubclass(StaleTileError, OSError)


def test_a_handle_is_valid_again_for_each_use(peer: Peer, second_peer: Peer) -> None:
    for value in (1.0, 2.0, 3.0):
        made = peer(make, "x", N, value)
        assert second_peer(borrow, "x", made) == N * value
        assert peer(handle, "x") == made
        second_peer(drop, "x")
        peer(drop, "x")
