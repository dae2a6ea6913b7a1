import math
from types import ModuleType

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import wait

import overspill as osp
from cases import matrix, random_array
from overspill import memory
from overspill.cluster import Cluster
from overspill.errors import DTypeError
from overspill.ops.residence import holds_tiles


def tasks(cluster: Cluster) -> int:
    return cluster.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def blocks(x: da.Array) -> list[object]:
    return list(dask.compute(*x.to_delayed().ravel(), scheduler="synchronous"))


@pytest.mark.parametrize("dtype", ["float64", "complex64", "int8", "bool"])
def test_chunks_become_tiles(xp: ModuleType, dtype: str) -> None:
    values = matrix((600, 700), dtype)
    x = osp.to_host(da.from_array(xp.asarray(values), chunks=(300, 400)))
    assert x.chunks == ((300, 300), (400, 300))
    assert (x.dtype, type(x._meta)) == (np.dtype(dtype), np.ndarray)
    assert all(memory.is_tile(block) for block in blocks(x))
    np.testing.assert_array_equal(x.compute(), values)


@pytest.mark.parametrize("shape", [(), (5,), (0,), (3, 4, 5)])
def test_any_shape_will_do(shape: tuple[int, ...]) -> None:
    x = osp.to_host(da.ones(shape))
    assert x.shape == shape
    np.testing.assert_array_equal(x.compute(), np.ones(shape))


def test_tiles_are_not_copied_again() -> None:
    x = osp.to_host(random_array(((300, 300), (400, 300))))
    assert osp.to_host(x) is x
    c = osp.matmul(x, x[:600, :].T, chunks=300)
    assert osp.to_host(c) is c
    assert all(memory.is_tile(block) for block in blocks(c))
    assert not holds_tiles(x + 1)


def test_nothing_is_computed() -> None:
    def explode(block: object) -> object:
        raise AssertionError("computed")

    osp.to_host(da.ones((10, 10)).map_blocks(explode, dtype=float, meta=np.empty((0, 0))))


@pytest.mark.gpu
def test_a_product_on_a_gpu_comes_back() -> None:
    x = random_array(((300, 300), (400, 200)))
    c = osp.matmul(x, x, residence="device", device_memory="64MiB")
    back = osp.to_host(c)
    assert isinstance(back.compute(), np.ndarray)
    assert all(isinstance(block, np.ndarray) for block in blocks(back))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int16", "bool"])
@pytest.mark.parametrize("shape", [(600, 700), (0, 5), (), (3,)])
def test_up_and_down(dtype: str, shape: tuple[int, ...]) -> None:
    import cupy

    values = matrix((600, 700), dtype).ravel()[: math.prod(shape)].reshape(shape)
    x = osp.to_device(da.from_array(values, chunks=300))
    assert (x.shape, x.dtype, type(x._meta)) == (shape, np.dtype(dtype), cupy.ndarray)
    assert all(isinstance(block, cupy.ndarray) for block in blocks(x))
    assert osp.to_device(x) is x
    np.testing.assert_array_equal(osp.to_host(x).compute(scheduler="synchronous"), values)


@pytest.mark.gpu
def test_chunks_that_are_no_tiles_or_not_in_order_come_up_too() -> None:
    values = matrix((700, 600), "float64")
    for x in (values.T, values[::-1, ::2], np.broadcast_to(values[0], (400, 600))):
        up = osp.to_device(da.from_array(x, chunks=300))
        np.testing.assert_array_equal(osp.to_host(up.T).compute(scheduler="synchronous"), x.T)


@pytest.mark.gpu
def test_up_compute_and_down_is_one_task_a_chunk_and_counts_what_crosses_the_link() -> None:
    values = matrix((900, 800), "float32")
    x = osp.to_host(da.from_array(values, chunks=(300, 400)))
    with osp.cluster(gpu=True, n_workers=1, dashboard_address=None) as cluster:
        x = cluster.client.persist(x)
        wait(x)
        device = osp.to_device(x)
        y = osp.to_host(da.where(device > 0, da.sin(device) ** 2, da.cos(device) * device).astype("float64"))
        cluster.client.run(memory.ledger.reset)
        before = tasks(cluster)
        y = cluster.client.persist(y)
        wait(y)
        made = tasks(cluster) - before
        counted = memory.ledger.total(list(cluster.client.run(memory.ledger.snapshot).values()))
        expected = np.where(values > 0, np.sin(values) ** 2, np.cos(values) * values)
        np.testing.assert_allclose(y.compute(), expected, rtol=1e-5, atol=1e-6)
    assert made == y.npartitions
    assert (counted["uploaded_nbytes"], counted["downloaded_nbytes"]) == (x.nbytes, y.nbytes)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["object", "datetime64[s]", "U3", "longdouble"])
def test_what_no_gpu_can_hold(dtype: str) -> None:
    with pytest.raises(DTypeError, match=r"no GPU can hold .* elements .*: convert them with x\.astype"):
        osp.to_device(da.from_array(np.empty(3, dtype), chunks=3))


def test_arrays_that_are_not_dask_s_become_so() -> None:
    for x in (np.ones(3), [1.0, 1.0, 1.0]):
        assert osp.to_host(osp.to_device(x)).compute(scheduler="synchronous").tolist() == [1, 1, 1]


def test_without_gpus_arrays_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    x = osp.to_host(da.ones((4, 4), chunks=2))
    with osp.cluster(gpu=False, n_workers=1, dashboard_address=None):
        assert osp.to_device(x) is x
    monkeypatch.setattr("overspill.backend.gpus", tuple)
    assert osp.to_device(x) is x
