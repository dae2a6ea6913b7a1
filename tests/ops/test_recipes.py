import tracemalloc
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest

import overspill as osp
from cases import random_array
from overspill.ops.recipes import LARGEST_CONSTANT, LONGEST_RECIPE, in_memory, kind, making_nbytes, recipes


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


def many_fused_steps() -> da.Array:
    x = RANDOM
    for _ in range(LONGEST_RECIPE + 2):
        x = da.sin(x)
    return x


MUCH = np.ones((300, LARGEST_CONSTANT // 800 + 1))


def enclosed() -> da.Array:
    much = MUCH.copy()
    return RANDOM.map_blocks(lambda block: block + much.sum(), dtype=float)


DEAR = {
    "a reduction of all": RANDOM - RANDOM.mean(),
    "other chunks": RANDOM.rechunk(((10,) * 5, (50,))),
    "a product": osp.matmul(RANDOM, RANDOM),
    "much data": da.from_array(MUCH, chunks=(100, -1)),
    "much data, fused": da.from_array(MUCH, chunks=(100, -1)) + 1,
    "much data, cast": da.from_array(MUCH, chunks=(100, -1)).astype("float32"),
    "much data, inlined": da.from_array(MUCH, chunks=(100, -1), inline_array=True) * 2,
    "much data in a later chunk": da.from_array(MUCH, chunks=((1, 299), -1)) + 1,
    "much data in all": da.from_array(np.ones((64, 150)), chunks=(64, 50)) + np.ones((64, 150)),
    "much data in a function": enclosed(),
    "many steps": many_steps(),
    "many steps, fused": many_fused_steps(),
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


def test_what_cannot_travel_is_no_recipe() -> None:
    unsendable = (number for number in range(3))
    assert recipes(RANDOM.map_blocks(lambda block: block + len(repr(unsendable)), dtype=float)) is None


LARGE = [random_array(((300, 200), (300, 100)), seed) for seed in range(4)]

MADE = {
    "one task": LARGE[0],
    "float16 from float64": LARGE[0].astype("float16"),
    "int8 from float64": LARGE[0].astype("int8"),
    "four inputs": ((LARGE[0] + LARGE[1]) * (LARGE[2] + LARGE[3])).astype("float32"),
    "one input used three times": (LARGE[0] + 1) * (LARGE[0] + 2) * (LARGE[0] + 3),
    "through complex numbers": abs(LARGE[0] + 1j * LARGE[1]).astype("float32"),
    "a choice": da.where(LARGE[0] > 0, LARGE[1], LARGE[2]),
    "a column of larger chunks": LARGE[0][:, 0][:, None],
}


@pytest.mark.parametrize("name", MADE)
def test_making_a_chunk_takes_no_more_than_planned(name: str) -> None:
    x = MADE[name]
    found = recipes(x)
    assert found is not None
    planned = making_nbytes(x, found)
    tracemalloc.start()
    try:
        found[(x.name, 0, 0)]()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    buffers = 250_000  # NumPy's for casting, and Dask's own objects
    assert peak - buffers <= planned <= 2.2 * peak


def test_reading_takes_two_copies_of_the_type_that_is_stored(tmp_path: Path) -> None:
    for dtype in ("float16", "float64"):
        osp.save(RANDOM.rechunk(25).astype(dtype), tmp_path / dtype)
        stored = osp.open(tmp_path / dtype)
        found = recipes(stored)
        assert found is not None
        assert making_nbytes(stored, found) == 2 * 25 * 25 * np.dtype(dtype).itemsize
