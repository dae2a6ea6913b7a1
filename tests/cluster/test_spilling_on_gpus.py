"""Ordinary graphs of CuPy chunks that outgrow their GPUs: right results, from whichever tier, whoever dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import wait

from cases import environment
from overspill.cluster import Cluster, cluster

pytestmark = pytest.mark.gpu

MIB = 2**20


@pytest.fixture
def tight() -> Iterator[Cluster]:
    """Every GPU of this machine, 64 MiB of each."""
    with cluster(device_memory="64MiB", memory="1GiB", dashboard_address=None) as started:
        yield started


def ramp(m: int, n: int, *chunk: int, dtype: str = "float64") -> da.Array:
    """An array that NumPy can make too: i * n + j, at most 2**53."""
    import cupy

    def fill(block_info: Any = None) -> Any:
        (top, bottom), (left, right) = block_info[None]["array-location"]
        return cupy.arange(top, bottom, dtype=dtype)[:, None] * n + cupy.arange(left, right, dtype=dtype)

    chunks = da.core.normalize_chunks((chunk[0], chunk[-1]), shape=(m, n))
    return da.map_blocks(fill, chunks=chunks, dtype=dtype, meta=cupy.empty((0, 0), dtype))


def figures(started: Cluster) -> list[dict[str, Any]]:
    got: dict[str, dict[str, Any]] = started.client.run(lambda dask_worker: dask_worker.data.figures())
    return list(got.values())


def total(started: Cluster, link: str) -> int:
    return sum(of_worker["links"][link]["nbytes"] for of_worker in figures(started))


def test_results_beyond_the_devices_are_spilled_and_come_back(tight: Cluster) -> None:
    n = 4096 * tight.resources.workers
    x = ramp(4096, n, 1024).persist()
    wait(x)
    assert total(tight, "device_to_host") > 0
    for of_worker in figures(tight):
        assert of_worker["tiers"]["device"]["nbytes"] <= 64 * MIB
        assert of_worker["allocated_nbytes"] <= 64 * MIB
    expected = np.arange(4096 * n, dtype=np.float64).reshape(4096, n)
    np.testing.assert_array_equal((x + 1).sum(axis=0).compute().get(), (expected + 1).sum(axis=0))
    np.testing.assert_array_equal(x[::7, 5:9].compute().get(), expected[::7, 5:9])
    assert total(tight, "host_to_device") > 0


def test_spilled_values_travel_between_workers(tight: Cluster) -> None:
    n = 4096
    x = ramp(n, n, 512).persist()
    y = (x + x.T).persist()
    wait(y)
    expected = np.arange(n * n, dtype=np.float64).reshape(n, n)
    # To the client too, on this host by handle.
    np.testing.assert_array_equal(np.block([[y.blocks[0, 1].compute().get()]]), (expected + expected.T)[:512, 512:1024])
    np.testing.assert_array_equal(y.sum(axis=1).compute().get(), (expected + expected.T).sum(axis=1))
    handles = [of_worker["tiers"]["host"]["nbytes"] for of_worker in figures(tight)]
    assert sum(handles) <= 3 * 2 * x.nbytes


def test_host_memory_that_is_full_too_goes_to_disk() -> None:
    with cluster(device_memory="64MiB", memory="64MiB", dashboard_address=None) as started:
        n = 2048 * started.resources.workers
        x = ramp(8192, n, 1024).persist()
        wait(x)
        assert total(started, "host_to_disk") > 0
        expected = np.arange(8192 * n, dtype=np.float64).reshape(8192, n)
        np.testing.assert_array_equal(x.sum(axis=0).compute().get(), expected.sum(axis=0))
        assert total(started, "disk_to_host") > 0


def test_temporaries_beyond_the_limit(tight: Cluster) -> None:
    def wasteful(block: Any) -> Any:
        return ((block + 1) * (block + 2) - (block + 1) * (block + 1)).sum(axis=1, keepdims=True)

    m, n = 8, 4 * MIB
    x = ramp(m, n, 1, n)
    got = x.map_blocks(wasteful, chunks=((1,) * m, (1,)), dtype="float64").compute().get()
    expected = (np.arange(m * n, dtype=np.float64) + 1).reshape(m, n).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.multi_gpu
def test_a_worker_killed_under_pressure(nothing_left: None) -> None:
    with cluster(device_memory="64MiB", memory="1GiB", dashboard_address=None) as started:
        x = ramp(4096, 8192, 512).persist()
        wait(x)
        victim = next(iter(started.client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        expected = np.arange(4096 * 8192, dtype=np.float64).reshape(4096, 8192)
        np.testing.assert_array_equal((x + x[::-1]).sum(axis=0).compute().get(), 2 * expected.sum(axis=0))


UNDER_A_LOCK_LIMIT = """
import resource, warnings
resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
import dask.array as da, cupy, overspill as osp
from distributed import wait

if __name__ == "__main__":
    with osp.cluster(n_workers=1, device_memory="64MiB", memory="512MiB", dashboard_address=None) as cluster:
        x = da.ones((64, 2**18), chunks=(4, -1)).map_blocks(cupy.asarray).persist()
        wait(x)
        print(float((x * 2).sum().compute()))
"""


def test_a_limit_on_locked_memory_costs_speed_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_LOCK_LIMIT], capture_output=True, text=True, timeout=100, env=environment()
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == 2.0 * 64 * 2**18
