"""Workers that talk over UCXX, which needs no GPU: tiles as handles, GPU memory as it lies, and ends of any kind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, Worker, wait

pytest.importorskip("distributed_ucxx")

import dask
from distributed.comm import connect, listen
from distributed.comm.core import CommClosedError
from distributed.comm.registry import backends
from distributed.protocol import to_serialize
from distributed.protocol.cuda import cuda_deserialize, cuda_serialize

import overspill as osp
from cases import environment
from overspill import memory
from overspill.cluster import Cluster, cluster, network, ucx

WITHOUT_GPUS = {"UCX_TLS": "tcp,sm,self", "UCX_WARN_UNUSED_ENV_VARS": "n"}
WAIT_S = 30


@pytest.fixture(scope="module")
def over_ucx() -> Iterator[Cluster]:
    with cluster(
        gpu=False,
        n_workers=2,
        threads_per_worker=1,
        protocol="ucx",
        env=WITHOUT_GPUS,
        memory="512MiB",
        dashboard_address=None,
    ) as started:
        yield started


def tile(n: int = 2**18) -> Any:
    x = memory.empty((n,), "f8")
    x[...] = np.arange(n)
    return x


def seen(x: Any) -> tuple[bool, float]:
    return memory.is_tile(x), float(x.sum())


TOTAL = float(np.arange(2**18).sum())


def passed_on(client: Client) -> tuple[bool, float]:
    """What one worker sees of a tile that another one has."""
    here, there = client.ncores()
    x = client.submit(tile, workers=[here], pure=False)
    found: tuple[bool, float] = client.submit(seen, x, workers=[there], pure=False).result(timeout=WAIT_S)
    return found


def test_workers_talk_over_ucxx_and_the_scheduler_over_tcp(over_ucx: Cluster) -> None:
    client = over_ucx.client
    scheduler, workers = client.scheduler.address, list(client.ncores())
    assert scheduler.startswith("tcp://")
    assert [address.partition("://")[0] for address in workers] == ["ucx", "ucx"]
    assert set(client.run(lambda dask_worker: dask_worker.scheduler.address).values()) == {scheduler}


def test_tiles_travel_as_handles(over_ucx: Cluster) -> None:
    client = over_ucx.client
    assert passed_on(client) == (True, TOTAL)
    assert seen(client.submit(tile, pure=False).result(timeout=WAIT_S)) == (True, TOTAL)
    scattered = client.scatter(tile(), workers=list(client.ncores())[:1], direct=True)
    assert client.submit(seen, scattered, pure=False).result(timeout=WAIT_S) == (True, TOTAL)


def test_a_scheduler_that_forwards_gets_bytes(over_ucx: Cluster) -> None:
    client = over_ucx.client
    x = client.submit(tile, pure=False)
    assert seen(client.gather(x, direct=False)) == (False, TOTAL)


ATTACHED = """
import sys
import numpy as np
import overspill as osp
from overspill import memory

def tile():
    x = memory.empty((2**18,), "f8")
    x[...] = np.arange(2**18)
    return x

with osp.cluster(sys.argv[1]) as attached:
    client = attached.client
    x = client.submit(tile, pure=False)
    for got in (x.result(timeout=30), client.gather(x, direct=False)):
        print(memory.is_tile(got), float(got.sum()))
    scattered = client.scatter(tile(), workers=list(client.ncores())[:1], direct=True)
    print(client.submit(memory.is_tile, scattered, pure=False).result(timeout=30))
"""


def test_a_client_that_attaches(over_ucx: Cluster) -> None:
    command = [sys.executable, "-c", ATTACHED, over_ucx.client.scheduler.address]
    done = subprocess.run(command, env=environment(**WITHOUT_GPUS), capture_output=True, text=True, timeout=2 * WAIT_S)
    assert done.stdout.splitlines() == [f"True {TOTAL}", f"False {TOTAL}", "True"], done.stderr


def test_large_messages_that_are_no_tiles(over_ucx: Cluster) -> None:
    client = over_ucx.client
    here, there = client.ncores()
    x = client.submit(lambda: {"a": b"x" * 2**27, "b": list(range(1000)), "c": ""}, workers=[here], pure=False)
    y = client.submit(lambda x: (len(x["a"]), x["a"][-1:], sum(x["b"]), x["c"]), x, workers=[there], pure=False)
    assert y.result(timeout=WAIT_S) == (2**27, b"x", 499_500, "")


def test_devices_are_reached_only_where_ucx_can(over_ucx: Cluster) -> None:
    def reaches(dask_worker: Worker) -> bool:
        return network.reaches_devices(dask_worker.address)

    assert set(over_ucx.client.run(reaches).values()) == {False}


def test_a_product(over_ucx: Cluster) -> None:
    a = da.ones((600, 400), chunks=(100, 200))
    c = osp.matmul(a, a.T, chunks=(150, 150))
    assert "GPU to GPU" not in dict(osp.plan(c).rows())
    np.testing.assert_array_equal(c.compute(), np.full((600, 600), 400.0))


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_only_time(nothing_left: None) -> None:
    asked: dict[str, Any] = {"protocol": "ucx", "env": WITHOUT_GPUS, "memory": "256MiB", "dashboard_address": None}
    with cluster(gpu=False, n_workers=2, threads_per_worker=1, **asked) as started:
        a = da.ones((800, 800), chunks=100).map_blocks(lambda block: block + 1).persist()
        wait(a)
        victim = next(iter(started.client.run(os.getpid).values()))
        c = osp.matmul(a, a, chunks=(100, 100)).persist()
        os.kill(victim, signal.SIGKILL)
        np.testing.assert_array_equal(c.compute(), np.full((800, 800), 3200.0))
        started.client.wait_for_workers(2, timeout=WAIT_S)
        assert all(address.startswith("ucx://") for address in started.client.ncores())
        assert passed_on(started.client) == (True, TOTAL)


class OnDevice:
    """Memory that says it is a GPU's."""

    def __init__(self, content: np.ndarray[Any, Any]) -> None:
        self.content = content
        self.nbytes = content.nbytes

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.content.__array_interface__ | {"version": 3, "strides": None}


class Through:
    """An endpoint for such memory where UCX finds no GPU."""

    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    async def send(self, frame: Any) -> None:
        await self._endpoint.send(frame.content if isinstance(frame, OnDevice) else frame)

    async def recv(self, frame: Any) -> None:
        await self._endpoint.recv(frame.content if isinstance(frame, OnDevice) else frame)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Serializers of such memory, and what is done on the device, in order."""
    done: list[str] = []

    def make(sizes: Any) -> list[Any]:
        done.append(f"empty {list(sizes)}")
        return [OnDevice(np.empty(size, "u1")) for size in sizes]

    monkeypatch.setattr(ucx, "_settle", lambda: done.append("settle"))
    monkeypatch.setattr(ucx, "_device_frames", make)
    monkeypatch.setitem(cuda_serialize._lookup, OnDevice, lambda x: ({}, [x]))
    monkeypatch.setitem(cuda_deserialize._lookup, OnDevice, lambda header, frames: frames[0])
    for name, value in WITHOUT_GPUS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ucx.TileUCXX, "ep", property(lambda comm: Through(comm._ep)))
    network.prepare("ucx://")
    return done


async def exchanged(*messages: Any) -> list[Any]:
    """What a peer in this process reads of `messages`, and then of its closing the connection."""
    got: list[Any] = []
    ended = asyncio.Event()

    async def take(comm: Any) -> None:
        try:
            while True:
                got.append(await comm.read())
        except CommClosedError as error:
            got.append(str(error))
        ended.set()

    async with listen("ucx://127.0.0.1", take) as listener:
        comm = await connect(listener.contact_address)
        for message in messages:
            await comm.write(message)
        await comm.close()
        with pytest.raises(CommClosedError, match="is closed: nothing can be sent"):
            await comm.write("late")
        await asyncio.wait_for(ended.wait(), WAIT_S)
    return got


def test_device_memory_goes_as_it_lies(device: list[str]) -> None:
    x = np.random.default_rng(0).integers(0, 256, 2**20, dtype="u1")
    got, empty, closed = asyncio.run(
        exchanged({"x": to_serialize(OnDevice(x)), "y": 1}, {"x": to_serialize(OnDevice(x[:0]))})
    )
    assert isinstance(got["x"], OnDevice)
    assert got["y"] == 1
    np.testing.assert_array_equal(got["x"].content, x)
    assert empty["x"].nbytes == 0
    assert "has closed the connection" in closed
    assert device == ["settle", f"empty [{2**20}]", "settle", "empty [0]"]


def test_no_room_for_a_message_reads_as_a_connection_that_broke(
    device: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(sizes: Any) -> list[Any]:
        raise MemoryError("the device is full")

    monkeypatch.setattr(ucx, "_device_frames", full)
    (error,) = asyncio.run(exchanged({"x": to_serialize(OnDevice(np.ones(9, "u1")))}))
    assert "failed: the device is full" in error


def test_multi_buffer_messages_are_turned_off(device: list[str]) -> None:
    assert dask.config.get("distributed-ucxx.multi-buffer") is False
    before = backends["ucx"]
    ucx.register()
    assert backends["ucx"] is before
