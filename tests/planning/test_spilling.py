"""Shares of what is asked for: they add up, and more memory never spills more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import resources
from overspill.planning.alive import Demand
from overspill.planning.spilling import Spilling, spill

GIB = 2**30

nbytes = st.integers(0, 2**50)


def found(
    device: int = 0, host: int = 0, *, limit: int = 4 * GIB, pool: int = 64 * GIB, workers: int = 4, threads: int = 2
) -> Spilling:
    given_ = resources("cuda", workers=workers, threads=threads, device_nbytes=limit, pool_nbytes=pool)
    return spill(Demand(device), Demand(host), given_)


@given(nbytes, nbytes, nbytes, nbytes, st.integers(1, 16), st.integers(1, 4))
def test_shares_add_up_within_the_limits(
    device: int, host: int, limit: int, pool: int, workers: int, threads: int
) -> None:
    room = found(device, host, limit=limit, pool=pool, workers=workers, threads=threads)
    assert room.on_device_nbytes + room.in_host_nbytes + room.on_disk_nbytes == room.held_nbytes == device + host
    assert room.on_device_nbytes + room.to_host_nbytes == device
    assert 0 <= room.on_device_nbytes <= limit * workers
    assert 0 <= room.in_host_nbytes <= pool
    assert room.on_disk_nbytes >= 0
    assert (room.spilled_nbytes == 0) == (room.to_host_nbytes == room.on_disk_nbytes == 0)
    assert (room.spilled_nbytes == 0) == (room.out_s == 0) == (room.back_s == 0)
    assert room.to_host_nbytes <= room.spilled_nbytes <= room.to_host_nbytes + room.on_disk_nbytes


@given(nbytes, nbytes, nbytes, nbytes, nbytes, nbytes)
def test_more_memory_never_spills_more(
    device: int, host: int, limit: int, pool: int, more_limit: int, more_pool: int
) -> None:
    tight = found(device, host, limit=limit, pool=pool)
    roomy = found(device, host, limit=limit + more_limit, pool=pool + more_pool)
    assert roomy.to_host_nbytes <= tight.to_host_nbytes
    assert roomy.on_disk_nbytes <= tight.on_disk_nbytes
    assert roomy.spilled_nbytes <= tight.spilled_nbytes
    assert roomy.out_s <= tight.out_s
    assert roomy.back_s <= tight.back_s


def test_seconds_are_those_of_the_links() -> None:
    room = found(48 * GIB, limit=4 * GIB, pool=20 * GIB)
    disk_s = 12 * GIB / (1e9 * 8)
    assert room.out_s == pytest.approx(32 * GIB / (4e10 * 4) + disk_s)
    assert room.back_s == pytest.approx(32 * GIB / (5e10 * 4) + disk_s)


@pytest.mark.parametrize(
    ("device", "host", "pool", "said"),
    [
        (12 * GIB, 0, 64 * GIB, "12 GiB on the device: fits on 4 GPUs"),
        (48 * GIB, 0, 64 * GIB, "48 GiB on the device: 16 GiB fit on 4 GPUs, 32 GiB spill to host memory"),
        (
            48 * GIB,
            0,
            20 * GIB,
            "48 GiB on the device: 16 GiB fit on 4 GPUs, 20 GiB spill to host memory, 12 GiB spill to disk",
        ),
        (
            48 * GIB,
            8 * GIB,
            20 * GIB,
            "48 GiB on the device and 8 GiB in host memory: 16 GiB fit on 4 GPUs, 8 GiB fit in host memory, "
            "12 GiB spill to host memory, 20 GiB spill to disk",
        ),
        (0, 30 * GIB, 20 * GIB, "30 GiB in host memory: 20 GiB fit in host memory, 10 GiB spill to disk"),
        (0, 0, 20 * GIB, "0 B in host memory: fits"),
    ],
)
def test_a_row_says_what_goes_where(device: int, host: int, pool: int, said: str) -> None:
    rows = found(device, host, pool=pool).rows("memory")
    assert rows[0] == ("memory", said)
    assert ("spilling" in "".join(name for name, _ in rows)) == ("spill" in said)


@pytest.mark.parametrize(
    ("device", "host", "limit", "warned"),
    [
        (Demand(GIB, GIB, GIB), Demand(GIB, GIB, 8 * GIB), GIB, []),
        (Demand(3 * GIB, 2 * GIB, 3 * GIB), Demand(), GIB, ["a chunk of 2 GiB exceeds the limit of a GPU, 1 GiB"]),
        (Demand(3 * GIB, GIB, 3 * GIB), Demand(), GIB, ["a task's inputs and result, 3 GiB on the device"]),
        (Demand(3 * GIB, GIB, GIB), Demand(), 0, ["no GPUs"]),
        (Demand(), Demand(9 * GIB, 5 * GIB, 9 * GIB), GIB, ["a chunk of 5 GiB exceeds a worker's share"]),
        (Demand(9 * GIB, 5 * GIB, 5 * GIB), Demand(), 8 * GIB, []),
        (Demand(99 * GIB, 5 * GIB, 5 * GIB), Demand(), 8 * GIB, ["a chunk of 5 GiB exceeds a worker's share"]),
    ],
)
def test_what_does_not_fit_one_worker_is_a_warning(device: Demand, host: Demand, limit: int, warned: list[str]) -> None:
    room = spill(device, host, resources("cuda", workers=4, device_nbytes=limit, pool_nbytes=16 * GIB))
    found = room.warnings()
    assert len(found) == len(warned)
    assert all(expected in warning for expected, warning in zip(warned, found, strict=True))
