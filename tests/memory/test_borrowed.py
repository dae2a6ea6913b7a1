import numpy as np

from memory.peers import Peer, borrow, close, drop, handle, make, mappings, total
from overspill import memory
from overspill.memory.tile import from_handle

N = 50_000


def test_data_outlives_its_owner_and_goes_when_it_is_let_go(peer: Peer) -> None:
    x = from_handle(peer(make, "x", N, 3.0))
    peer.kill()
    memory.purge()
    assert (x == 3).all(), "a lease keeps the mapping"
    assert mappings() == 1
    del x
    assert mappings() == 0


def test_a_mapping_is_kept_for_the_next_use_of_the_block(peer: Peer) -> None:
    for value in (1.0, 2.0):
        x = from_handle(peer(make, "x", N, value))
        address = x.__array_interface__["data"][0]
        assert (x == value).all()
        del x
        peer(drop, "x")
        assert mappings() == 1
    assert (from_handle(peer(make, "y", N, 5.0)).__array_interface__["data"][0]) == address


def test_what_the_owner_gives_back_is_unmapped(peer: Peer) -> None:
    x = from_handle(peer(make, "x", N, 1.0))
    del x
    peer(drop, "x")
    assert mappings() == 1
    peer(close)
    assert mappings() == 0


def test_a_borrower_passes_a_tile_on_even_after_its_owner_died(peer: Peer, second_peer: Peer) -> None:
    made = peer(make, "x", N, 3.0)
    assert second_peer(borrow, "x", made) == 3 * N
    peer.kill()
    passed_on = second_peer(handle, "x")
    assert (passed_on.segment.pid, passed_on.segment.owner) == (second_peer.process.pid, made.segment.owner)
    x = from_handle(passed_on)
    second_peer(drop, "x")
    assert second_peer(mappings) == 0
    assert (x == 3).all()


def test_two_leases_share_a_mapping(peer: Peer) -> None:
    made = peer(make, "x", N, 3.0)
    x, y = from_handle(made), from_handle(made)
    assert np.shares_memory(x, y)
    del x
    peer.kill()
    memory.purge()
    assert (y == 3).all()


def test_a_borrower_reads_what_the_owner_writes_until_it_is_done(peer: Peer) -> None:
    mine = memory.empty((N,), float)
    mine[...] = 1
    own = memory.tile.to_handle(mine)
    assert peer(borrow, "x", own) == N
    mine[...] = 2
    assert peer(total, "x") == 2 * N


def test_a_tile_may_come_back_to_its_owner() -> None:
    mine = memory.empty((N,), float)
    mine[...] = 1
    again = from_handle(memory.tile.to_handle(mine))
    del mine
    other = memory.empty((N,), float)
    other[...] = 2
    assert (again == 1).all(), "a lease of one's own counts as anyone's"
