"""Plans and what was then measured: the same numbers, on the CPU device."""

import gc
import tracemalloc
from typing import Any

import dask.array as da
import numpy as np
import pytest
from dask.array.core import normalize_chunks
from hypothesis import given, settings
from hypothesis import strategies as st

import overspill as osp
from cases import assert_product, cuts, random_array, resources
from overspill.memory import ledger
from overspill.planning.footprint import PROCESS_NBYTES
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.resources import using

MEASURED = ("tasks", "flop", "uploaded_nbytes", "downloaded_nbytes", "read_nbytes", "recomputed_nbytes")


def run(c: da.Array, plan: MatmulPlan, scheduler: str) -> np.ndarray[Any, Any]:
    """The product, used up block by block where the plan says that it does not fit."""
    if plan.hold_result:
        return np.array(c.compute(scheduler=scheduler))
    target = np.empty(c.shape, c.dtype)
    da.store(c, target, lock=False, scheduler=scheduler)
    return target


@settings(max_examples=12, deadline=None)
@given(
    st.data(),
    cuts(200, 4),
    cuts(200, 4),
    cuts(200, 4),
    st.sampled_from(["float64", "float32", "float16", "complex128", "int32"]),
    st.integers(17, 24),
    st.sampled_from([("synchronous", 1, 1), ("synchronous", 3, 2), ("threads", 1, 2)]),
)
def test_measured_equals_planned(
    data: st.DataObject,
    rows: tuple[int, ...],
    inner: tuple[int, ...],
    columns: tuple[int, ...],
    dtype: str,
    bits: int,
    how: tuple[str, int, int],
) -> None:
    k = sum(inner)
    first = data.draw(st.integers(1, k))
    a = random_array((rows, inner), 1, dtype)
    b = random_array(
        (data.draw(st.sampled_from([inner, (first, k - first) if first < k else (k,)])), columns), 2, dtype
    )
    scheduler, workers, threads = how
    with using(resources(workers=workers, threads=threads, pool_nbytes=2**bits)):
        try:
            c = osp.matmul(a, b)
        except osp.MemoryBudgetError:
            return
        (plan,) = osp.plan(c).products
    gc.collect()
    ledger.reset()
    before = ledger.snapshot()["peak_pool_nbytes"]
    result = run(c, plan, scheduler)
    found = ledger.snapshot()
    assert {name: found[name] for name in MEASURED} == {name: getattr(plan, name) for name in MEASURED}
    assert found["peak_pool_nbytes"] - before <= plan.peak_tiles_nbytes <= 2**bits
    assert found["overflow_nbytes"] == 0
    assert_product(result, a.compute(scheduler="synchronous"), b.compute(scheduler="synchronous"))


@pytest.mark.parametrize(("dtype", "pool_nbytes"), [("float64", 4_500_000), ("int32", 7_000_000), ("float64", 2**25)])
@pytest.mark.parametrize("chunk", [(200, 200), (100, 800), (800, 100)])
def test_memory_stays_within_the_plan(pool_nbytes: int, chunk: tuple[int, int], dtype: str) -> None:
    """Tiles, buffers, accumulators, and the chunks that tasks read and hold, all together."""
    chunks = normalize_chunks(chunk, (800, 800))
    a, b = random_array(chunks, 1, dtype), random_array(chunks, 2, dtype)
    with using(resources(pool_nbytes=pool_nbytes)):
        c = osp.matmul(a, b)
        (plan,) = osp.plan(c).products
    assert_memory_within(c, plan)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("pool_nbytes", [12_000_000, 2**25])
def test_recipes_of_many_inputs_stay_within_the_plan(dtype: str, pool_nbytes: int) -> None:
    x = [random_array(((400, 400), (400, 400)), seed) for seed in range(4)]
    a = ((x[0] + x[1]) * (x[2] + x[3])).astype(dtype)
    with using(resources(pool_nbytes=pool_nbytes)):
        c = osp.matmul(a, a.T)
        (plan,) = osp.plan(c).products
    assert_memory_within(c, plan)


def assert_memory_within(c: da.Array, plan: MatmulPlan) -> None:
    """Tiles and ordinary arrays together, while the product is computed and used up, take no more than planned."""
    reduced = c.max()
    gc.collect()
    ledger.reset()
    tracemalloc.start()
    try:
        reduced.compute(scheduler="synchronous")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    graph = 600_000  # the processes' own figure covers it, like everything that is there before
    allowed = plan.peak_host_nbytes - 2 * PROCESS_NBYTES + graph
    assert peak + ledger.snapshot()["peak_pool_nbytes"] <= allowed


def test_two_products_are_planned_in_one_table() -> None:
    a = random_array(((300, 300), (300, 300)))
    plan = osp.plan(osp.matmul(osp.matmul(a, a), a).sum())
    assert len(plan.products) == 2
    assert plan.flop == 2 * 2 * 600**3
    assert plan.shape == ()


@pytest.mark.parametrize("part", ["rows", "block", "diagonal", "column"])
@pytest.mark.parametrize("pool_nbytes", [900_000, 2**25])
def test_a_part_of_a_product_is_planned_as_that_part(part: str, pool_nbytes: int) -> None:
    chunks = ((100, 100, 100), (100, 100, 100))
    a, b = random_array(chunks, 1), random_array(chunks, 2)
    with using(resources(pool_nbytes=pool_nbytes)):
        c = osp.matmul(a, b, chunks=100)
        taken = {"rows": c[:10], "block": c[120:180, 150:], "diagonal": da.diagonal(c), "column": c[:, 250]}[part]
        whole, plan = osp.plan(c).products[0], osp.plan(taken).products[0]
    gc.collect()
    ledger.reset()
    taken.compute(scheduler="synchronous")
    found = ledger.snapshot()
    assert {name: found[name] for name in MEASURED} == {name: getattr(plan, name) for name in MEASURED}
    assert plan.tasks < whole.tasks == 9
    assert plan.prepare_s <= whole.prepare_s
    assert plan.predicted_s < whole.predicted_s
    assert f"{plan.tasks} needed of 9 of 100 × 100" in str(osp.plan(taken))


def test_what_is_not_needed_is_not_counted() -> None:
    a = random_array(((100,) * 4, (400,)))
    assert osp.plan(a[:100]).tasks == 2
    c = osp.matmul(a, a.T, chunks=100)
    assert osp.plan(da.concatenate([c, a])[400:]).products == ()


def test_an_array_without_products_has_a_plan_too() -> None:
    plan = osp.plan(da.ones((10, 20), chunks=5))
    assert (plan.shape, plan.dtype, plan.nbytes, plan.residence, plan.tasks) == ((10, 20), "float64", 1600, "host", 8)
    assert plan.products == ()


def test_unknown_sizes_are_named() -> None:
    x = da.ones((10, 10), chunks=5)
    with pytest.raises(osp.ArrayError, match="compute_chunk_sizes"):
        osp.plan(x[x[:, 0] > 0])
