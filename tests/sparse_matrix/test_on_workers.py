"""Sparse matrices on two workers: where blocks lie, how they travel, and what comes out."""

from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import wait

from overspill import memory
from overspill.cluster import Cluster
from overspill.sparse import CSRMatrix, from_coo

from .matrices import random_matrix


def held(dask_worker: Any) -> list[tuple[Any, bool, bool]]:
    """The row blocks that a worker holds: keys, whether they are tiles, whether they are borrowed."""
    blocks = [(key, value) for key, value in dask_worker.data.items() if hasattr(value, "indptr")]
    return [(key, memory.is_tile(block.data), not block.data.flags.writeable) for key, block in blocks]


def test_a_matrix_in_memory_goes_to_the_workers_in_runs(two_workers: Cluster) -> None:
    A = random_matrix(4000, 4000, density=0.02)
    matrix = CSRMatrix.from_scipy(A, blocks=6)
    found = two_workers.client.run(held)
    assert sorted(len(of_worker) for of_worker in found.values()) == [3, 3]
    graph, holders = matrix.dask.to_dict(), two_workers.client.who_has()
    where = [holders[graph[key].key] for key in matrix.__dask_keys__()]
    assert where[0] == where[1] == where[2] != where[3] == where[4] == where[5]
    assert all(tile and borrowed for of_worker in found.values() for _, tile, borrowed in of_worker)
    x = np.random.default_rng(0).standard_normal(4000)
    lazy = da.from_array(x, chunks=matrix.row_chunks)
    y, z = dask.compute(matrix @ lazy, matrix.T @ lazy)
    np.testing.assert_allclose(y, A @ x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(z, A.T @ x, rtol=1e-12, atol=1e-12)
    assert z.tobytes() == (matrix.T @ da.from_array(x, chunks=1000)).compute().tobytes()
    again = CSRMatrix.from_scipy(A, blocks=6)
    assert again.name == matrix.name
    del matrix
    np.testing.assert_allclose((again @ lazy).compute(), y, rtol=0)
    difference = again[100:3000] - (again * 2)[100:3000]
    assert abs(difference.to_scipy() + A[100:3000]).max() == 0


def test_the_scheduler_knows_how_large_blocks_are(two_workers: Cluster) -> None:
    A = random_matrix(500, 500, density=0.01)
    doubled = (CSRMatrix.from_scipy(A, blocks=1) * 2).persist()
    wait(doubled)
    (name,) = doubled.__dask_keys__()
    nbytes = two_workers.client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.tasks[name].nbytes)
    assert nbytes >= doubled.nbytes


def test_persisted_triplets(two_workers: Cluster) -> None:
    rng = np.random.default_rng(1)
    rows, columns, values = rng.integers(0, 300, 5000), rng.integers(0, 300, 5000), rng.integers(0, 9, 5000) * 1.0
    arrays = dask.persist(*(da.from_array(x, chunks=800) for x in (rows, columns, values)))
    A = from_coo(*arrays, (300, 300), blocks=4).persist()
    assert A.compute_nnz().nnz == len({*zip(rows.tolist(), columns.tolist(), strict=True)})
    dense = np.zeros((300, 300))
    np.add.at(dense, (rows, columns), values)
    np.testing.assert_array_equal(A.to_scipy().toarray(), dense)
