"""What plans say that tasks move and need, against what is counted and measured while the same graphs are computed."""

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import Task
from distributed import wait

import overspill as osp
from cases import random_array, resources
from overspill.cluster import Cluster
from overspill.memory import ledger
from overspill.planning.footprint import PROCESS_NBYTES
from overspill.planning.passes import Passes
from overspill.planning.resources import using
from overspill.storage import StoredArray

CHUNKS = ((400,) * 3, (300,) * 4)
NBYTES = 1200 * 1200 * 8
CHUNK_NBYTES = 400 * 300 * 8


def x(seed: int = 0) -> da.Array:
    """Chunks that are there already."""
    return random_array(CHUNKS, seed).persist(scheduler="synchronous")


def passes(lazy: da.Array, device: Any = "cpu", **given: int) -> Passes:
    with using(resources(device, **given)):
        return osp.plan(lazy).passes


@osp.elementwise
def wave(x: Any) -> Any:
    return np.sin(x) ** 2 + np.cos(x) * x


@osp.elementwise
def both(x: Any, y: Any) -> Any:
    return x + y, x * y


MOVED: dict[str, tuple[Callable[[], da.Array], float]] = {
    "fused is one pass": (lambda: wave(x()), 2),
    "plain is a pass a step": (lambda: da.sin(x()) ** 2 + da.cos(x()) * x(), 2 + 2 + 2 + 3 + 3),
    "an array twice is read once": (lambda: x() * x(), 2),
    "of a transpose only the sum is a pass": (lambda: x().rechunk(400) + x().rechunk(400).T, 2 + 3),
    "a slice is read, not copied": (lambda: x()[:400, :300] * 2, 2 / 12),
    "a reshape is no pass where chunks stay whole": (lambda: x().rechunk((400, 1200)).reshape(-1) * 2, 2 + 2),
    "two results are one pass": (lambda: both(x(), x(1))[1], 4),
    "a reduction reads, with what it reduces": (lambda: osp.mean(wave(x())), 1),
    "of several inputs too": (lambda: osp.sum(both(x(), x(1))[1], axis=0), 2),
    "of each chunk only the pieces that are wanted": (lambda: osp.rechunk(osp.to_host(x()), (500, 700)), 2 + 2),
    "a transpose that is copied": (lambda: osp.transpose(osp.to_host(x())), 2 + 2),
    "results are casts of others": (lambda: x().astype("float32"), 1.5),
    "ones take no memory, but are read": (lambda: x() + da.ones((1200, 1200), chunks=CHUNKS), 3),
}
"""Arrays, and the bytes that it takes to read and write for them, in those of `x`."""


@pytest.mark.parametrize(("build", "arrays"), MOVED.values(), ids=MOVED)
def test_bytes_read_and_written(build: Callable[[], da.Array], arrays: float) -> None:
    lazy = build()
    plan = passes(lazy)
    assert plan.total.host_nbytes == pytest.approx(arrays * NBYTES, rel=0.03)  # with a reduction's partial results
    assert plan.total.uploaded_nbytes == plan.total.device_nbytes == plan.total.read_nbytes == 0
    as_dask_runs_it = lazy.__dask_optimize__(lazy.dask, lazy.__dask_keys__())
    assert plan.tasks == sum(isinstance(node, Task) for node in as_dask_runs_it.values())


def test_chunks_made_of_nothing_are_told_apart() -> None:
    plan = passes(random_array(CHUNKS) * 2)
    assert (plan.total.made_nbytes, plan.total.host_nbytes, plan.tasks) == (NBYTES, 2 * NBYTES, 12)


def test_a_fused_function_weighs_its_calls_once_an_element() -> None:
    weights = passes(wave(x())).total.on_host.numpy / (NBYTES // 8)
    assert weights == 23 + 23 + 1 + 1 + 1
    assert passes(da.sin(x()) ** 2 + da.cos(x()) * x()).total.on_host.numpy / (NBYTES // 8) == weights


def test_a_reduction_weighs_what_it_reduces() -> None:
    alone, fused = passes(osp.sum(x())).total.on_host.numpy, passes(osp.sum(wave(x()))).total.on_host.numpy
    assert alone / (NBYTES // 8) == pytest.approx(1, rel=0.01)
    assert (fused - alone) / (NBYTES // 8) == 23 + 23 + 1 + 1 + 1


@pytest.mark.parametrize("zarrs_own", [True, False])
def test_bytes_from_disk_are_those_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zarrs_own: bool) -> None:
    with dask.config.set(scheduler="synchronous"):
        osp.save(random_array(CHUNKS), tmp_path / "x.zarr")
    stored = da.from_zarr(str(tmp_path / "x.zarr")) if zarrs_own else osp.open(tmp_path / "x.zarr")
    lazy = (stored[:700] + 1).sum()
    planned = passes(lazy).total.read_nbytes
    if zarrs_own:
        assert planned == 800 * 1200 * 8
        return
    read = []
    take = StoredArray.__getitem__

    def counted(self: StoredArray, index: Any) -> np.ndarray[Any, Any]:
        part = take(self, index)
        read.append(part.nbytes)
        return part

    monkeypatch.setattr(StoredArray, "__getitem__", counted)
    lazy.compute(scheduler="synchronous")
    assert planned == sum(read) > 0


def on_device(lazy: da.Array, *names: str) -> da.Array:
    """`lazy`, with the layers of these names telling of CuPy chunks, which cannot be made without a GPU."""
    for name, layer in lazy.dask.layers.items():
        if name.startswith(names):
            layer.collection_annotations["chunk_type"] = "cupy.ndarray"
    return lazy


def test_links_carry_what_changes_residence() -> None:
    up = osp.to_host(x()).map_blocks(np.copy, name="up")
    lazy = on_device(osp.to_host(wave(up)), "up", "wave")
    plan = passes(lazy, "cuda", workers=2, threads=2, device_nbytes=2**30)
    assert plan.total.uploaded_nbytes == plan.total.downloaded_nbytes == NBYTES
    assert plan.total.device_nbytes == 2 * NBYTES
    assert plan.total.mixed_nbytes == plan.total.host_nbytes - 2 * NBYTES == 0  # x is copied into tiles
    assert plan.tasks == 12
    assert plan.peak.device_nbytes == 2 * CHUNK_NBYTES
    assert plan.peak.host_nbytes == 2 * CHUNK_NBYTES  # the tile that went up is let go before the result comes down
    assert plan.numpy_s is not None


def test_loose_chunks_are_copied_on_their_way_up() -> None:
    plan = passes(on_device(x().map_blocks(np.copy, name="up"), "up"), "cuda", device_nbytes=2**30)
    assert plan.total.uploaded_nbytes == NBYTES
    assert plan.total.host_nbytes == 2 * NBYTES
    assert plan.peak.host_nbytes == 2 * CHUNK_NBYTES


def test_host_chunks_that_meet_device_chunks_are_noted() -> None:
    up = osp.to_host(x()).map_blocks(np.copy, name="up")
    given = on_device(up, "up")
    lazy = on_device(given + x(1), "add")
    with using(resources("cuda", device_nbytes=2**30)):
        plan = osp.plan(lazy)
    assert plan.passes.total.mixed_nbytes == NBYTES
    assert plan.passes.total.uploaded_nbytes == 2 * NBYTES
    assert "of host chunks go up to meet device chunks" in str(plan)


def test_products_and_their_operands_are_not_planned_twice() -> None:
    a = random_array(((200, 200), (400,)))
    with using(resources()):
        c = osp.matmul(a, a.T)
        alone, more = osp.plan(c), osp.plan(c + 1)
    assert alone.passes.tasks == 0
    assert alone.predicted_s == alone.products[0].predicted_s
    assert more.passes.total.host_nbytes == 2 * c.nbytes
    assert more.predicted_s > alone.predicted_s


MEASURED: dict[str, Callable[[], da.Array]] = {
    "fused": lambda: wave(x()),
    "plain": lambda: da.sin(x()) ** 2 + da.cos(x()) * x(),
    "fused, reduced": lambda: wave(x()).mean(),
    "plain, reduced": lambda: (da.sin(x()) ** 2 + da.cos(x()) * x()).sum(axis=0),
    "reduced in one pass": lambda: osp.mean(wave(x())),
    "variance": lambda: osp.var(wave(x()), axis=0),
    "place": lambda: osp.argmax(x(), axis=1),
    "histogram": lambda: osp.histogram(wave(x()), bins=10, range=(0, 9))[0],
    "made and used up": lambda: wave(random_array(CHUNKS)).sum(),
    "two results": lambda: both(x(), x(1))[0],
    "tiles": lambda: osp.to_host(wave(x())),
    "rechunked": lambda: (x() + 1).rechunk((1200, 100)),
    "cut anew": lambda: osp.rechunk(x() + 1, (500, 700)),
    "turned": lambda: osp.transpose(wave(x())),
    "transposed": lambda: x().rechunk(400) + x().rechunk(400).T,
    "sliced": lambda: (x()[100:, ::2] * 2).max(),
}


@pytest.mark.parametrize("build", MEASURED.values(), ids=MEASURED)
def test_memory_stays_within_the_plan(build: Callable[[], da.Array]) -> None:
    lazy = build()
    with using(resources()):
        plan = osp.plan(lazy)
    given = sum(value.nbytes for value in lazy.dask.values() if isinstance(value, np.ndarray))
    lazy.compute(scheduler="synchronous")  # what is set up once is there
    gc.collect()
    ledger.reset()
    before = ledger.snapshot()["peak_pool_nbytes"]
    tracemalloc.start()
    try:
        lazy.compute(scheduler="synchronous")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    graph = 600_000  # the processes' own figure covers it, like everything that is there before
    measured = peak + ledger.snapshot()["peak_pool_nbytes"] - before - graph
    whole = plan.nbytes if plan.shape else 0  # chunks put together to be handed over
    assert measured <= plan.peak_host_nbytes - 2 * PROCESS_NBYTES - given + whole


@pytest.mark.gpu
def test_links_carry_what_is_planned() -> None:
    values = osp.to_host(random_array(CHUNKS)).persist(scheduler="synchronous")
    with using(resources("cuda", device_nbytes=2**30)):
        lazy = osp.to_host(wave(osp.to_device(values)))
        plan = osp.plan(lazy).passes
        ledger.reset()
        lazy.compute(scheduler="synchronous")
    counted = ledger.snapshot()
    assert counted["uploaded_nbytes"] == plan.total.uploaded_nbytes == NBYTES
    assert counted["downloaded_nbytes"] == plan.total.downloaded_nbytes == NBYTES
    assert plan.tasks == 12


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", ["fused", "plain", "into tiles"])
def test_cores_are_busy_for_as_long_as_predicted(dtype: str, build: str, two_workers: Cluster) -> None:
    """Within a factor of 2.5; by the workers' own clocks, which stand still while others use the cores."""
    itemsize = np.dtype(dtype).itemsize
    values = da.random.default_rng(0).random(2**28 // itemsize, chunks=2**24 // itemsize).astype(dtype).persist()
    wait(values)
    lazy = {
        "fused": lambda: wave(values).mean(),
        "plain": lambda: (da.sin(values) ** 2 + da.cos(values) * values).mean(),
        "into tiles": lambda: osp.to_host(values + 1),
    }[build]()
    busy = []
    for _ in range(5):
        before = two_workers.client.run(time.process_time)
        wait(lazy.persist())
        busy += [after - before[name] for name, after in two_workers.client.run(time.process_time).items()]
    ratio = statistics.median(busy) / osp.plan(lazy).predicted_s
    assert 1 / 2.5 < ratio < 2.5
