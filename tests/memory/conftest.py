import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from memory.peers import Peer, forget
from overspill import memory


@pytest.fixture(scope="session")
def idle_peers() -> Iterator[list[Peer]]:
    """Processes that no test uses just now; starting one takes a second."""
    idle: list[Peer] = []
    yield idle
    for peer in idle:
        peer.close()


@pytest.fixture
def peer(idle_peers: list[Peer]) -> Iterator[Peer]:
    """Another process that makes, borrows and passes on tiles."""
    with lent(idle_peers) as peer:
        yield peer


@pytest.fixture
def second_peer(idle_peers: list[Peer]) -> Iterator[Peer]:
    with lent(idle_peers) as peer:
        yield peer


@contextmanager
def lent(idle: list[Peer]) -> Iterator[Peer]:
    peer = idle.pop() if idle else Peer()
    yield peer
    if peer.process.is_alive():
        peer(forget)
        idle.append(peer)
    else:
        peer.close()


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test begins with an empty pool, and leaves no tile, no descriptor and no file in /dev/shm behind."""
    memory.close()
    before = descriptors(), shared_files()
    yield
    if "two_workers" in request.fixturenames:
        return  # mappings of live workers' tiles are kept on purpose
    memory.close()
    if (descriptors(), shared_files()) != before:  # an exception's traceback may still hold an array
        gc.collect()
        memory.close()
    assert (descriptors(), shared_files()) == before


def descriptors() -> int:
    """Open files of this process whose content is a tile."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the listing's own descriptor, or one closed meanwhile
        overflow = target.endswith("(deleted)") and not target.startswith("/memfd:")  # CUDA keeps memfds of its own
        count += "overspill-tile" in target or overflow
    return count


def shared_files() -> set[str]:
    names = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    return {name for name in names if not name.startswith("sem.")}  # semaphores, of other programs too
