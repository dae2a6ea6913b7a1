"""`matmul` on two worker processes."""

import os
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import wait

import overspill as osp
from cases import assert_product, matrix, random_array
from overspill.cluster import Cluster
from overspill.memory import ledger
from overspill.planning.arithmetic import SUPPORTED


def measured(cluster: Cluster) -> list[dict[str, int]]:
    """The workers' ledgers."""
    return list(cluster.client.run(ledger.snapshot).values())


@pytest.fixture
def workers(two_workers: Cluster) -> Cluster:
    two_workers.client.run(ledger.reset)
    return two_workers


@pytest.mark.parametrize("dtype", SUPPORTED)
def test_every_element_type_is_numpys_product(workers: Cluster, dtype: str) -> None:
    a, b = matrix((190, 270), dtype, 1), matrix((270, 310), dtype, 2)
    c = osp.matmul(da.from_array(a, chunks=(100, 90)), da.from_array(b, chunks=(110, 160)))
    assert_product(c.compute(), a, b)


def test_the_plan_is_for_the_cluster(workers: Cluster) -> None:
    a = random_array(((500,) * 2, (500,) * 2))
    plan = osp.plan(osp.matmul(a, a))
    assert plan.workers == 2
    assert plan.products[0].tasks % 2 == 0


@pytest.mark.parametrize("memory", [None, "72MiB"])
def test_tiles_spread_evenly_and_are_counted_as_planned(workers: Cluster, memory: Any) -> None:
    """Tasks of some 50 ms, as plans make them and longer: shorter ones end before the scheduler can balance them."""
    a = random_array(((400,) * 6, (1000,) * 6), 1)
    b = random_array(((1000,) * 6, (400,) * 4), 2)
    c = osp.matmul(a, b, memory=memory, chunks=400)
    plan = osp.plan(c).products[0]
    assert (plan.recomputed_nbytes > 0) == (memory is not None)
    total = c.sum().compute()
    assert total == pytest.approx((a.sum(axis=0) @ b.sum(axis=1)).compute())
    snapshots = measured(workers)
    tasks = [found["tasks"] for found in snapshots]
    assert sum(tasks) == plan.tasks == 24
    assert max(tasks) <= 2 * min(tasks), tasks  # as even as two cores are alike: a busy one rightly gets fewer
    counted = ledger.total(snapshots)
    for name in ("flop", "uploaded_nbytes", "downloaded_nbytes", "read_nbytes", "recomputed_nbytes"):
        assert counted[name] == getattr(plan, name), name
    assert counted["overflow_nbytes"] == 0


def test_operands_may_be_persisted(workers: Cluster) -> None:
    a = random_array(((300,) * 4, (300,) * 4)).persist()
    wait(a)
    c = osp.matmul(a, a, chunks=300)
    assert_product(c.compute(), a.compute(), a.compute())
    assert sum(found["tasks"] for found in measured(workers)) == 16


def pid_of(block: Any) -> Any:
    return np.full_like(block, os.getpid())


def test_operands_are_recomputed_inside_the_tasks(workers: Cluster) -> None:
    """Each tile is made from what its own worker made: no operand chunk is a task of the scheduler."""
    a = da.map_blocks(pid_of, random_array(((125,) * 8, (1000,))), dtype=float, meta=np.empty((0, 0)))
    means = da.full((1000, 1000), 1 / 1000, chunks=(1000, 125))
    c = osp.matmul(a, means, memory="14MiB", chunks=125)
    plan = osp.plan(c).products[0]
    assert not plan.hold_a and not plan.hold_b
    assert len(c.dask.layers) == 1
    pids = workers.client.run(os.getpid).values()
    total = c.sum(axis=1).compute()
    assert ledger.total(measured(workers))["recomputed_nbytes"] == plan.recomputed_nbytes
    assert min(pids) * 1000 * 0.999 <= total.min() <= total.max() <= max(pids) * 1000 * 1.001


def test_disk_to_tiles(workers: Cluster, tmp_path: Path) -> None:
    a = random_array(((300,) * 3, (300,) * 3))
    osp.save(a, tmp_path / "a.zarr")
    stored = osp.open(tmp_path / "a.zarr")
    c = osp.matmul(stored, stored.T, memory="8MiB")
    plan = osp.plan(c).products[0]
    assert plan.read_nbytes and not plan.recomputed_nbytes
    workers.client.run(ledger.reset)
    total = c.sum().compute()
    values = a.compute()
    assert total == pytest.approx((values @ values.T).sum())
    assert ledger.total(measured(workers))["read_nbytes"] == plan.read_nbytes


def test_products_multiply_on(workers: Cluster) -> None:
    x, y = (random_array(((140, 160), (150, 150)), seed) for seed in range(2))
    a, b = x.compute(), y.compute()
    assert_product(osp.matmul(osp.matmul(x, y), x.T).compute(), a @ b, a.T)
