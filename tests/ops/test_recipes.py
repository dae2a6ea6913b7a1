from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest

import overspill as osp
from cases import random_array
from overspill.ops.recipes import LARGEST_CONSTANT, LONGEST_RECIPE, in_memory, kind, recipes


def assert_made_alike(x: da.Array) -> None:
    """Each recipe, on its own, makes the chunk that computing the array makes."""
    found = recipes(x)
    assert found is not None
    assert set(found) == set(dask.core.flatten(x.__dask_keys__()))
    values = x.compute(scheduler="synchronous")
    for index in np.ndindex(*x.numblocks):
        expected = x.blocks[index].compute(scheduler="synchronous")
        np.testing.assert_array_equal(found[(x.name, *index)](), expected)
        np.testing.assert_array_equal(found[(x.name, *index)](), expected, err_msg="made again it is the same")
    assert values.shape == x.shape


RANDOM = random_array(((30, 20), (25, 10, 15)))

CHEAP = {
    "random": RANDOM,
    "of another type": RANDOM.astype("float32"),
    "blockwise": (RANDOM * 2 + 1).clip(0, 1),
    "two of them": RANDOM + random_array(((30, 20), (25, 10, 15)), 1),
    "transposed": RANDOM.T,
    "sliced": RANDOM[5:40, 3:],
    "constant": da.ones((50, 50), chunks=20),
    "a column": RANDOM[:, 0][:, None],
}


@pytest.mark.parametrize("name", CHEAP)
def test_what_is_cheap_is_made_again(name: str) -> None:
    assert_made_alike(CHEAP[name])
    found = recipes(CHEAP[name])
    assert found is not None and kind(found) == "recompute"


def many_steps() -> da.Array:
    x = RANDOM
    for step in range(LONGEST_RECIPE + 2):
        x = x.rechunk(((30, 20), (50,))) if step % 2 else x.rechunk(((50,), (50,)))
    return x


DEAR = {
    "a reduction of all": RANDOM - RANDOM.mean(),
    "other chunks": RANDOM.rechunk(((10,) * 5, (50,))),
    "a product": osp.matmul(RANDOM, RANDOM),
    "much data": da.from_array(np.ones((300, LARGEST_CONSTANT // 800 + 1)), chunks=(100, -1)),
    "many steps": many_steps(),
}


@pytest.mark.parametrize("name", DEAR)
def test_what_is_dear_or_shared_is_not(name: str) -> None:
    assert recipes(DEAR[name]) is None


def test_what_is_on_disk_is_read_again(tmp_path: Path) -> None:
    osp.save(RANDOM.rechunk(25), tmp_path / "x.zarr")
    stored = osp.open(tmp_path / "x.zarr")
    for x in (stored, stored.T, stored.astype("float32") * 2, stored + RANDOM.rechunk(25).astype("float32") * 0):
        found = recipes(x)
        if found is not None:
            assert kind(found) == "disk"
    assert_made_alike(stored)
    assert_made_alike(stored.astype("float32"))


def test_what_is_there_already_is_known() -> None:
    assert in_memory(RANDOM.persist())
    assert in_memory(da.from_array(np.ones((50, 50)), chunks=20))
    assert not in_memory(RANDOM)
    assert not in_memory(RANDOM.persist() + 1)
