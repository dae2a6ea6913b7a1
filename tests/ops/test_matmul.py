"""`matmul` in this process: every element type, any chunks, any layout, and a word for what it cannot take."""

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import overspill as osp
from cases import assert_product, cuts, matrix, random_array, resources
from overspill.backend import to_numpy
from overspill.memory import is_tile, ledger
from overspill.ops.matmul import ProductLayer
from overspill.planning import placement
from overspill.planning.arithmetic import SUPPORTED
from overspill.planning.grid import intervals
from overspill.planning.resources import using


def explode(block: Any) -> Any:
    raise AssertionError("computed while the graph was built")


def product(c: da.Array) -> ProductLayer:
    (layer,) = (layer for layer in c.dask.layers.values() if isinstance(layer, ProductLayer))
    return layer


@pytest.mark.parametrize("dtype", SUPPORTED)
def test_every_element_type_is_numpys_product(xp: ModuleType, dtype: str) -> None:
    a, b = matrix((90, 70), dtype, 1), matrix((70, 110), dtype, 2)
    c = osp.matmul(da.from_array(xp.asarray(a), chunks=(40, 33)), da.from_array(xp.asarray(b), chunks=(25, 60)))
    assert (c.dtype, c.shape) == (np.dtype(dtype), (90, 110))
    assert isinstance(c._meta, xp.ndarray)
    computed = c.compute()
    assert isinstance(computed, xp.ndarray)
    assert_product(to_numpy(computed), a, b)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("float32", "float64"),
        ("int32", "float32"),
        ("bool", "uint8"),
        ("int64", "complex64"),
        (">f8", ">f8"),
        ("uint64", "int8"),
    ],
)
def test_mixed_types_are_promoted_as_numpy_does(left: str, right: str) -> None:
    a, b = matrix((50, 40), "int8", 1).astype(left), matrix((40, 30), "int8", 2).astype(right)
    c = osp.matmul(da.from_array(a, chunks=20), da.from_array(b, chunks=15))
    assert_product(c.compute(), a, b)


@settings(max_examples=40, deadline=None)
@given(
    st.data(),
    cuts(),
    cuts(),
    cuts(),
    st.sampled_from(["float64", "int32"]),
    st.sampled_from(["synchronous", "threads"]),
)
def test_any_ragged_chunks_will_do(
    data: st.DataObject,
    rows: tuple[int, ...],
    inner: tuple[int, ...],
    columns: tuple[int, ...],
    dtype: str,
    scheduler: Any,
) -> None:
    k = sum(inner)
    other = data.draw(st.integers(1, k).map(lambda first: (first, k - first) if first < k else (k,)))
    transposed = data.draw(st.booleans())
    a, b = matrix((sum(rows), k), dtype, 1), matrix((k, sum(columns)), dtype, 2)
    lazy_a = da.from_array(a.T, chunks=(inner, rows)).T if transposed else da.from_array(a, chunks=(rows, inner))
    c = osp.matmul(lazy_a, da.from_array(b, chunks=(other, columns)))
    assert_product(c.compute(scheduler=scheduler), a, b)


@pytest.mark.parametrize(
    ("left", "right"),
    [((30,), (30,)), ((30,), (30, 20)), ((20, 30), (30,)), ((1, 30), (30, 1)), ((20, 1), (1, 30)), ((1,), (1,))],
)
def test_vectors_may_stand_on_either_side(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = matrix(left, "float64", 1), matrix(right, "float64", 2)
    c = osp.matmul(da.from_array(a, chunks=7), da.from_array(b, chunks=11))
    assert c.shape == (a @ b).shape
    assert_product(np.asarray(c.compute()), a, b)


@pytest.mark.parametrize("residence", ["auto", "host"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((0, 5), (5, 3)),
        ((4, 0), (0, 3)),
        ((4, 5), (5, 0)),
        ((0, 0), (0, 0)),
        ((0,), (0,)),
        ((0,), (0, 4)),
        ((4, 0), (0,)),
    ],
)
def test_nothing_times_anything_is_numpys_answer(left: tuple[int, ...], right: tuple[int, ...], residence: Any) -> None:
    a, b = np.ones(left, "float32"), np.ones(right, "float32")
    for chunks in (None, 2):
        c = osp.matmul(da.from_array(a), da.from_array(b), residence=residence, chunks=chunks)
        np.testing.assert_array_equal(c.compute(), a @ b)
        assert (c.dtype, c.shape) == (a.dtype, (a @ b).shape)
        osp.plan(c)


def test_empty_chunks_among_others_take_no_part() -> None:
    a, b = matrix((6, 5), "float64", 1), matrix((5, 4), "float64", 2)
    c = osp.matmul(da.from_array(a, chunks=((0, 4, 0, 2), (3, 0, 2))), da.from_array(b, chunks=((5, 0), (0, 4))))
    assert_product(c.compute(), a, b)


def test_what_is_no_dask_array_becomes_one() -> None:
    a = matrix((30, 30), "float64")
    assert_product(osp.matmul(a, a.tolist()).compute(), a, a)


def test_an_operand_may_be_on_both_sides() -> None:
    x = random_array(((40, 60), (50, 50)))
    values = x.compute()
    assert_product(osp.matmul(x, x).compute(), values, values)
    assert_product(osp.matmul(x, x.T).compute(), values, values.T)
    assert_product(osp.matmul(x.T, x).compute(), values.T, values)


def test_products_multiply_on() -> None:
    x, y, z = (random_array(((40, 60), (50, 50)), seed) for seed in range(3))
    a, b, c = dask.compute(x, y, z)
    assert_product(osp.matmul(osp.matmul(x, y), z).compute(), a @ b, c)
    assert_product(osp.matmul(x, osp.matmul(y, z) + 1).compute(), a, b @ c + 1)


def test_operands_may_be_persisted() -> None:
    x = random_array(((40, 60), (50, 50)))
    values = x.compute()
    c = osp.matmul(x.persist(), x.persist())
    assert osp.plan(c).products[0].recomputed_nbytes == 0
    assert_product(c.compute(), values, values)


def held_blocks(c: da.Array) -> dict[Any, Any]:
    """What the tasks of a product are given, by key, of operands that are held."""
    keys = {key for task in product(c).mapping.values() for key in task.dependencies}
    return dict(zip(keys, c.__dask_scheduler__(dict(c.dask), list(keys)), strict=True))


def test_chunks_that_are_in_memory_go_into_tiles_unless_they_are_tiles() -> None:
    x = random_array(((300, 300), (300, 300)))
    ordinary = [x.persist(), da.from_array(x.compute(), chunks=300)]
    for a in ordinary:
        c = osp.matmul(a, a.T.persist())
        assert all(is_tile(block) for block in held_blocks(c).values())
    tiles = osp.to_host(x).persist()
    c = osp.matmul(tiles, tiles)
    assert {key[0] for key in held_blocks(c)} == {tiles.name}
    loose, tight = (product(osp.matmul(a, a, chunks=300)).plan for a in (ordinary[0], tiles))
    assert loose.peak_tiles_nbytes == tight.peak_tiles_nbytes
    assert loose.peak_host_nbytes - tight.peak_host_nbytes == x.nbytes


def test_an_array_on_both_sides_is_held_once() -> None:
    x = random_array(((300, 300), (300, 300)))
    values = x.compute()
    ledger.reset()
    before = ledger.snapshot()["peak_pool_nbytes"]
    with using(resources(threads=2)):
        c = osp.matmul(x, x, chunks=300)
    assert_product(c.compute(scheduler="synchronous"), values, values)
    plan = product(c).plan
    assert plan.hold_a and plan.hold_b
    assert ledger.snapshot()["peak_pool_nbytes"] - before <= plan.peak_tiles_nbytes < 2.2 * x.nbytes
    dear = da.map_blocks(np.add, x, x.mean(), dtype=float, meta=np.empty((0, 0)))
    with using(resources(threads=2, pool_nbytes=int(2.8 * x.nbytes))):
        assert product(osp.matmul(dear, dear, chunks=300)).plan.hold_a


def test_building_computes_nothing() -> None:
    a = da.ones((100, 100), chunks=40).map_blocks(explode, dtype=float, meta=np.empty((0, 0)))
    c = osp.matmul(a, a.T) + 1
    osp.plan(osp.matmul(c, a))
    osp.matmul(a, a, memory="200kiB")
    with pytest.raises(AssertionError, match="while the graph was built"):
        c.compute()


def test_the_same_product_has_the_same_name() -> None:
    def build(seed: int = 0, **keywords: Any) -> str:
        return str(
            osp.matmul(random_array(((40, 60), (50, 50)), seed), random_array(((70, 30), (100,)), 9), **keywords).name
        )

    with using(resources()):
        names = {build(), build()}
        assert len(names) == 1
        assert build(1) not in names
        assert build(chunks=10) not in names


def test_a_product_planned_for_another_machine_has_another_name() -> None:
    """Graphs may be merged by name: a name stands for one set of tasks."""
    x = random_array(((100,) * 10, (100,) * 10))
    with using(resources()):
        held = osp.matmul(x, x, chunks=500)
    with using(resources(pool_nbytes=11 * 2**20)):
        streamed = osp.matmul(x, x, chunks=500)
    assert product(held).plan.hold_b and not product(streamed).plan.hold_b
    assert held.name != streamed.name
    one, other = dask.compute(held, streamed)
    np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("chunks", [30, (30, 50), ((10, 90), (100,)), (-1, 7), ((50, 0, 50), 60)])
def test_tiles_are_cut_as_told(chunks: Any) -> None:
    a = random_array(((40, 60), (50, 50)))
    c = osp.matmul(a, a, chunks=chunks)
    expected = da.ones((100, 100), chunks=chunks).chunks
    assert c.chunks == tuple(tuple(size for size in axis if size) for axis in expected)
    assert_product(c.compute(), a.compute(), a.compute())


def test_a_small_budget_streams_the_operands() -> None:
    a, b = random_array(((200,) * 5, (200,) * 5), 1), random_array(((200,) * 5, (200,) * 5), 2)
    with using(resources(pool_nbytes=2**40)):
        c = osp.matmul(a, b, memory="6MiB")
        plan = product(c).plan
    assert not plan.hold_a and not plan.hold_b and not plan.hold_result
    ledger.reset()
    total = c.sum().compute(scheduler="synchronous")
    found = ledger.snapshot()
    assert total == pytest.approx((a.compute() @ b.compute()).sum())
    assert found["recomputed_nbytes"] == plan.recomputed_nbytes > a.nbytes + b.nbytes
    assert found["peak_pool_nbytes"] <= plan.peak_tiles_nbytes <= 6 * 2**20


def test_what_is_dear_to_make_is_made_once() -> None:
    made: list[int] = []

    def dear(x: Any, y: Any) -> Any:
        made.append(1)
        return x + y

    x = random_array(((100,) * 4, (400,)))
    a = da.map_blocks(dear, x, x.sum(axis=1, keepdims=True).sum(), dtype=float, meta=np.empty((0, 0)))
    c = osp.matmul(a, a.T, chunks=100)
    assert product(c).plan.hold_a
    c.compute(scheduler="synchronous")
    assert len(made) == 4


@pytest.mark.gpu
@pytest.mark.parametrize("operands", ["host", "device", "mixed"])
@pytest.mark.parametrize("residence", ["auto", "host", "device"])
def test_the_result_lives_where_asked(operands: str, residence: Any) -> None:
    import cupy

    a, b = random_array(((200, 100), (150, 150)), 1), random_array(((300,), (120, 80)), 2)
    left = a if operands == "host" else a.map_blocks(cupy.asarray)
    right = b.map_blocks(cupy.asarray) if operands == "device" else b
    c = osp.matmul(left, right, residence=residence, device_memory="64MiB")
    on_device = residence == "device" or (residence == "auto" and operands != "host")
    assert isinstance(c._meta, cupy.ndarray) == on_device
    computed = c.compute()
    assert isinstance(computed, cupy.ndarray) == on_device
    assert_product(to_numpy(computed), a.compute(), b.compute())


@pytest.mark.gpu
def test_nothing_times_anything_on_a_gpu() -> None:
    import cupy

    c = osp.matmul(da.from_array(cupy.ones((4, 0))), da.from_array(cupy.ones((0, 3))))
    assert isinstance(c._meta, cupy.ndarray)
    np.testing.assert_array_equal(to_numpy(c.compute()), np.zeros((4, 3)))


def test_no_warnings_reach_the_user() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a = random_array(((40, 60), (50, 50)), dtype="complex64")
        osp.matmul(a, a).compute()


def test_a_save_is_resumed_with_another_plan(tmp_path: Path) -> None:
    """What was begun under one budget goes on under another, which cuts the product into other tiles."""
    a, b = random_array(((100,) * 4, (90,) * 4), 1), random_array(((90,) * 4, (100,) * 4), 2)
    first, second = osp.matmul(a, b, chunks=200), osp.matmul(a, b, chunks=(100, 400))
    assert first.name != second.name
    begun = osp.save(first, tmp_path / "c.zarr", compute=False)
    begun.blocks[0, 1].compute()
    osp.save(second, tmp_path / "c.zarr", resume=True)
    assert_product(osp.open(tmp_path / "c.zarr").compute(), a.compute(), b.compute())
    with pytest.raises(osp.StorageError, match="begun with token"):
        osp.save(osp.matmul(a, b + 1), tmp_path / "c.zarr", resume=True)


@pytest.mark.parametrize(("workers", "threads", "narrow"), [(1, 2, 1), (2, 2, 2), (1, 1, 16), (16, 2, 16)])
def test_only_what_finds_the_gpu_idle_begins_with_narrow_panels(workers: int, threads: int, narrow: int) -> None:
    x = da.zeros((32768, 32768), chunks=8192)
    with using(resources("cuda", workers=workers, threads=threads, device_nbytes=2**34, pool_nbytes=2**40)):
        layer = product(osp.matmul(x, x, chunks=8192))
    tasks = [task.args[0] for task in layer.mapping.values()]
    assert [task.panels[0] == (0, 256) for task in tasks].count(True) == narrow
    assert {task.panels for task in tasks} == {intervals(layer.plan.first_panels), intervals(layer.plan.panels)}
    assert {task.shape.width for task in tasks} == {max(layer.plan.panels)}
    begun = placement.beginnings([key[1:] for key in layer.mapping], workers)
    waits_for = [None if narrow == 16 or begun[key[1:]] == key[1:] else begun[key[1:]] for key in layer.mapping]
    assert [task.first for task in tasks] == waits_for


def test_products_whose_tiles_begin_otherwise_have_names_of_their_own() -> None:
    """Their bits differ: whoever knows one by its name must not be given the other."""
    x = da.zeros((32768, 32768), chunks=8192)
    names = set()
    for workers in (1, 2):
        with using(resources("cuda", workers=workers, threads=2, device_nbytes=2**34, pool_nbytes=2**40)):
            layer = product(osp.matmul(x, x, chunks=8192))
            names.add(next(iter(layer.mapping))[0])
    assert len(names) == 2
