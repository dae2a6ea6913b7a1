from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memory.store.books import assert_nothing_held, quiet
from overspill.memory import tile
from overspill.memory.store import Store
from overspill.memory.store.device import Device

Opened = Callable[..., Store]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Opens stores that keep to the given limits; afterwards they must let go of everything."""
    stores: list[Store] = []

    def open_store(device: Device | None = None, host_nbytes: int = 2**40) -> Store:
        directory = tmp_path / f"worker-{len(stores)}"
        directory.mkdir()
        tile.configure(pool_nbytes=host_nbytes, directory=str(directory))
        store = Store(worker_local_directory=directory)
        store.open(device)
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.clear()
        quiet(store)
        assert_nothing_held(store)
        store.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert tile.pool().used_nbytes() == 0
