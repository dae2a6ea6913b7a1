"""Saving and reading on worker processes."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

from overspill import storage
from overspill.cluster import Cluster
from overspill.errors import StorageError

VALUES = np.arange(54.0).reshape(6, 9)


@pytest.mark.usefixtures("two_workers")
def test_round_trip(tmp_path: Path) -> None:
    storage.save(da.from_array(VALUES, chunks=((1, 4, 1), (3, 6))), tmp_path / "a")
    x = storage.open(tmp_path / "a")
    storage.save(x.T + 1, tmp_path / "b")
    np.testing.assert_array_equal(storage.open(tmp_path / "b").compute(), VALUES.T + 1)


def fail_once(block: Any, block_id: Any = None, *, marker: Path) -> Any:
    if block_id == (1, 1) and not marker.exists():
        marker.touch()
        raise RuntimeError("the power went")
    return block


@pytest.mark.usefixtures("two_workers")
def test_resuming(tmp_path: Path) -> None:
    x = da.from_array(VALUES, chunks=(2, 3)).map_blocks(fail_once, marker=tmp_path / "failed", meta=np.empty((0, 0)))
    with pytest.raises(RuntimeError, match="the power went"):
        storage.save(x, tmp_path / "a")
    storage.save(x, tmp_path / "a", resume=True)
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES)


@pytest.mark.usefixtures("two_workers")
def test_a_damaged_chunk_is_reported_in_one_sentence(tmp_path: Path) -> None:
    storage.save(da.from_array(VALUES, chunks=(2, 3)), tmp_path / "a")
    (tmp_path / "a" / "c" / "0" / "1").unlink()
    with pytest.raises(StorageError, match=r"cannot be read at \[0:2, 3:6\].*missing or damaged") as error:
        (storage.open(tmp_path / "a") + 1).compute()
    assert "\n" not in str(error.value)


def test_progress_block_by_block(tmp_path: Path, two_workers: Cluster) -> None:
    writes = storage.save(da.from_array(VALUES, chunks=(2, 3)), tmp_path / "a", compute=False)
    assert writes is not None
    persisted = two_workers.client.persist(writes)
    assert int(persisted.sum().compute()) == 9
    np.testing.assert_array_equal(storage.open(tmp_path / "a").compute(), VALUES)
