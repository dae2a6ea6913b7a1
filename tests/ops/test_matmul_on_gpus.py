"""`matmul` on a cluster of GPU workers: one test body for one GPU and for several."""

from collections.abc import Iterator
from typing import Any

import dask.array as da
import pytest
from distributed import futures_of, wait

import overspill as osp
from cases import assert_product, random_array
from overspill.cluster import Cluster
from overspill.memory import ledger
from overspill.stream.device import device

DEVICE_MEMORY = 256 * 2**20


@pytest.fixture(
    scope="module",
    params=[pytest.param("0", marks=pytest.mark.gpu), pytest.param("0,1", marks=pytest.mark.multi_gpu)],
)
def gpu_workers(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with osp.cluster(
        gpu=True, CUDA_VISIBLE_DEVICES=request.param, memory="4GiB", device_memory=DEVICE_MEMORY, dashboard_address=None
    ) as started:
        yield started


def operands() -> tuple[da.Array, da.Array]:
    return random_array(((700,) * 5, (900,) * 4), 1), random_array(((800,) * 4 + (400,), (1100,) * 3), 2)


def on_devices(x: da.Array) -> da.Array:
    import cupy

    return x.map_blocks(cupy.asarray, dtype=x.dtype, meta=cupy.empty((0, 0), x.dtype))


def test_host_operands_stream_through_every_gpu(gpu_workers: Cluster) -> None:
    gpu_workers.client.run(ledger.reset)
    a, b = operands()
    c = osp.matmul(a, b, chunks=(700, 1100))
    plan = osp.plan(c).products[0]
    assert plan.side == "cupy", plan.reason
    values = a.compute(), b.compute()
    assert_product(c.compute(), *values)
    snapshots = list(gpu_workers.client.run(ledger.snapshot).values())
    total = ledger.total(snapshots)
    assert total["tasks"] == plan.tasks == 15
    assert min(found["tasks"] for found in snapshots) > 0
    assert total["uploaded_nbytes"] == plan.uploaded_nbytes
    assert total["downloaded_nbytes"] == plan.downloaded_nbytes
    assert 0 < total["peak_device_nbytes"] <= plan.peak_device_nbytes <= DEVICE_MEMORY
    assert total["overflow_nbytes"] == 0


@pytest.mark.parametrize("residence", ["auto", "host", "device"])
def test_device_operands(gpu_workers: Cluster, residence: Any) -> None:
    gpu_workers.client.run(clear)
    a, b = (on_devices(x) for x in operands())
    c = osp.matmul(a, b, residence=residence, chunks=(700, 1100))
    plan = osp.plan(c).products[0]
    c = c.persist()
    wait(c)
    kinds = gpu_workers.client.map(lambda block: type(block).__module__, futures_of(c), pure=False)
    assert {kind.split(".")[0] for kind in gpu_workers.client.gather(kinds)} == {
        "numpy" if residence == "host" else "cupy"
    }
    values = (x.compute() for x in operands())
    result = c.compute()
    assert_product(result if residence == "host" else result.get(), *values)
    total = ledger.total(list(gpu_workers.client.run(ledger.snapshot).values()))
    assert total["tasks"] == 15
    assert 0 < total["peak_device_nbytes"] <= plan.peak_device_nbytes <= DEVICE_MEMORY


def clear() -> None:
    """Let buffers of earlier products go, and count anew."""
    device("cupy").buffers._clear()
    ledger.reset()


def test_tiles_go_from_gpu_workers_to_the_client_as_handles(gpu_workers: Cluster) -> None:
    from overspill.memory import is_tile

    a, b = operands()
    tile = futures_of(osp.matmul(a, b, chunks=(700, 1100)).persist())[0].result()
    assert is_tile(tile)
    assert tile.shape == (700, 1100)
