import os
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import pytest
from distributed import Worker, get_worker

from overspill import backend, memory
from overspill.cluster import Cluster, cluster
from overspill.errors import ClusterError
from overspill.memory import tile
from overspill.planning.resources import active

MIB = 2**20


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Cluster]:
    """Workers that are not attached to but started."""
    with cluster(gpu=False, n_workers=2, threads_per_worker=1, memory="256MiB", dashboard_address=None) as started:
        yield started


def pool_limit(dask_worker: Worker) -> tuple[int, str]:
    return tile.pool().limit_nbytes, tile.pool().directory


def test_each_is_single_threaded(two_workers: Cluster) -> None:
    assert list(two_workers.client.ncores().values()) == [1, 1]
    assert (two_workers.resources.device, two_workers.resources.workers, two_workers.resources.threads) == (
        "cpu",
        2,
        1,
    )


def test_each_has_one_blas_thread(two_workers: Cluster) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    found = two_workers.client.run(lambda: [os.environ[name] for name in names])
    assert list(found.values()) == [["1"] * 3] * 2


def test_none_asks_the_driver_about_gpus(two_workers: Cluster) -> None:
    states = two_workers.client.run(lambda: dask.config.get("distributed.diagnostics.nvml"))
    assert set(states.values()) == {False}
    assert dask.config.get("distributed.diagnostics.nvml"), "nor is anything else kept from asking"


def test_work_spreads(two_workers: Cluster) -> None:
    def where(i: int) -> str:
        return str(get_worker().address)

    futures = two_workers.client.map(where, range(20))
    assert set(two_workers.client.gather(futures)) == set(two_workers.client.ncores())


def test_pools_share_the_memory(two_workers: Cluster) -> None:
    found = two_workers.client.run(pool_limit)
    assert [limit for limit, _ in found.values()] == [128 * MIB] * 2
    assert len({directory for _, directory in found.values()}) == 2
    assert two_workers.resources.pool_nbytes == 256 * MIB


def test_dask_imposes_no_limit_of_its_own(two_workers: Cluster) -> None:
    found = two_workers.client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
    assert list(found.values()) == [None, None]


def test_resources_are_what_plans_assume(two_workers: Cluster) -> None:
    assert active() is two_workers.resources


def test_results_come_as_tiles(two_workers: Cluster) -> None:
    def make() -> Any:
        made = memory.empty((512, 512), "f8")
        made[:] = 3
        return made

    result = two_workers.client.submit(make).result()
    assert memory.is_tile(result)
    assert result.sum() == 3 * 512 * 512


def test_dask_arrays_compute(two_workers: Cluster) -> None:
    assert da.ones((100, 100), chunks=30).sum().compute() == 10_000


def test_attaching_uses_it_and_leaves_it(two_workers: Cluster) -> None:
    url = two_workers.client.scheduler.address
    with cluster(url) as attached:
        assert attached.client is not two_workers.client
        assert attached.client.direct_to_workers
        assert attached.resources == two_workers.resources
        assert attached.client.submit(sum, [1, 2]).result() == 3
    assert attached.client.status == "closed"
    assert two_workers.client.submit(sum, [1, 3]).result() == 4
    assert [limit for limit, _ in two_workers.client.run(pool_limit).values()] == [128 * MIB] * 2


def test_attaching_with_other_memory_holds_as_long(two_workers: Cluster) -> None:
    with cluster(two_workers.client.scheduler.address, memory="64MiB") as attached:
        assert attached.resources.pool_nbytes == 64 * MIB
        assert [limit for limit, _ in attached.client.run(pool_limit).values()] == [32 * MIB] * 2
    assert [limit for limit, _ in two_workers.client.run(pool_limit).values()] == [128 * MIB] * 2


@pytest.mark.skipif(bool(backend.gpus()), reason="needs a machine without a GPU")
def test_attaching_for_gpus_where_there_are_none(two_workers: Cluster) -> None:
    with pytest.raises(ClusterError, match="gpu=True, but"):
        cluster(two_workers.client.scheduler.address, gpu=True)
