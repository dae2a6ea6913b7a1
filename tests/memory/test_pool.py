import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from memory.peers import Peer, borrow, drop
from overspill.memory import registry
from overspill.memory.pool import Pool, block_nbytes
from overspill.memory.segment import PAGE
from overspill.memory.tile import to_handle

BLOCK = 256 * PAGE


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    pool = Pool(3 * BLOCK, str(tmp_path))
    yield pool
    assert pool.trim() == 0, "every block is given back"
    assert pool.nbytes == 0
    assert list(tmp_path.iterdir()) == []


def take(pool: Pool, nbytes: int = BLOCK, fill: int = 1) -> NDArray[np.uint8]:
    x = np.asarray(pool.allocate(nbytes))
    x[...] = fill
    return x


def address(x: NDArray[Any]) -> int:
    return int(x.__array_interface__["data"][0])


def on_disk(x: NDArray[Any]) -> bool:
    found = registry.find(x)
    assert found is not None
    return found[0].on_disk


@pytest.mark.parametrize(("nbytes", "size"), [(0, PAGE), (1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE)])
def test_blocks_are_whole_pages(nbytes: int, size: int) -> None:
    assert block_nbytes(nbytes) == size


def test_a_block_is_recycled_for_the_same_size(pool: Pool) -> None:
    x = take(pool, BLOCK - 5)
    first = address(x)
    del x
    y = take(pool, BLOCK)
    assert address(y) == first
    assert pool.nbytes == BLOCK


def test_a_block_is_not_recycled_while_a_view_lives(pool: Pool) -> None:
    x = take(pool, fill=7)
    view = x[100:300].reshape(2, 100).T[::-1]
    first = address(x)
    del x
    y = take(pool, fill=9)
    assert address(y) != first
    assert (view == 7).all()
    del view
    z = take(pool)
    assert address(z) == first


def test_a_block_is_not_recycled_while_another_process_holds_it(pool: Pool, peer: Peer) -> None:
    x = take(pool, fill=7)
    first = address(x)
    assert peer(borrow, "x", to_handle(x)) == 7 * BLOCK
    del x
    y = take(pool)
    assert address(y) != first
    assert pool.used_nbytes() == 2 * BLOCK
    peer(drop, "x")
    assert pool.used_nbytes() == BLOCK
    z = take(pool)
    assert address(z) == first


def test_a_killed_holder_lets_go(pool: Pool, peer: Peer) -> None:
    x = take(pool)
    peer(borrow, "x", to_handle(x))
    del x
    assert pool.used_nbytes() == BLOCK
    peer.kill()
    assert pool.used_nbytes() == 0


def test_idle_blocks_make_room_for_other_sizes(pool: Pool) -> None:
    small = [take(pool), take(pool)]
    del small
    large = take(pool, 3 * BLOCK)
    assert not on_disk(large)
    assert pool.nbytes == 3 * BLOCK
    assert pool.overflow_nbytes == 0


def test_past_the_limit_blocks_lie_in_unlinked_files(pool: Pool, tmp_path: Path) -> None:
    full = [take(pool, fill=i) for i in range(3)]
    beyond = [take(pool, fill=10 + i) for i in range(2)]
    assert [on_disk(x) for x in (*full, *beyond)] == [False] * 3 + [True] * 2
    assert [int(x[0]) for x in (*full, *beyond)] == [0, 1, 2, 10, 11]
    assert all((x == x[0]).all() for x in (*full, *beyond))
    assert list(tmp_path.iterdir()) == []
    assert (pool.nbytes, pool.overflow_nbytes) == (3 * BLOCK, 2 * BLOCK)
    del full
    assert not on_disk(take(pool))


def test_a_block_on_disk_can_be_borrowed_too(pool: Pool, peer: Peer) -> None:
    full = take(pool, 3 * BLOCK)
    x = take(pool, fill=3)
    assert on_disk(x)
    assert peer(borrow, "x", to_handle(x)) == 3 * BLOCK
    peer(drop, "x")
    del full


def test_peak_and_use_count_blocks_that_somebody_holds(pool: Pool) -> None:
    x, y = take(pool), take(pool)
    del x
    assert (pool.used_nbytes(), pool.peak_nbytes, pool.nbytes) == (BLOCK, 2 * BLOCK, 2 * BLOCK)
    x = take(pool)
    assert pool.peak_nbytes == 2 * BLOCK
    del x, y
    assert pool.used_nbytes() == 0


def test_trimming_gives_back_what_is_idle_and_counts_the_rest(pool: Pool) -> None:
    x, y = take(pool, fill=4), take(pool)
    del y
    assert pool.trim() == 1
    assert pool.nbytes == BLOCK
    assert (x == 4).all()


def hammer(pool: Pool, rounds: int, threads: int = 4) -> None:
    """Threads that take, fill, check and release blocks of a few sizes; any sharing shows as a wrong byte."""
    wrong: list[str] = []

    def work(name: int) -> None:
        rng = np.random.default_rng(name)
        kept: list[tuple[int, NDArray[np.uint8]]] = []
        for step in range(rounds):
            fill = (name * 64 + step) % 251
            kept.append((fill, take(pool, int(rng.integers(1, 5)) * PAGE, fill)))
            if len(kept) > 3:
                expected, x = kept.pop(int(rng.integers(len(kept))))
                if not (x == expected).all():
                    wrong.append(f"thread {name}, step {step}")

    workers = [threading.Thread(target=work, args=(name,)) for name in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    assert pool.used_nbytes() == 0


def test_threads_never_share_a_block(pool: Pool) -> None:
    pool.limit_nbytes = 30 * PAGE
    hammer(pool, 300)
    assert pool.peak_nbytes <= 30 * PAGE


@pytest.mark.stress
def test_threads_never_share_a_block_for_long(pool: Pool) -> None:
    pool.limit_nbytes = 30 * PAGE
    hammer(pool, 8_000, threads=16)


def test_descriptors_do_not_pile_up(pool: Pool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for size in range(1, 60):
        take(pool, size * PAGE * 9)
    pool.trim()
    assert len(os.listdir("/proc/self/fd")) == before
