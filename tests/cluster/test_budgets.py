from typing import Any

import psutil
import pytest

from overspill import backend, machine
from overspill.cluster.budgets import budgets
from overspill.errors import ClusterError, UsageError
from overspill.units import parse_nbytes

GIB = 2**30


def pool_nbytes(memory: str | int | None = None, workers: int = 2, **keywords: Any) -> int:
    return budgets("cpu", workers, 1, keywords, memory=memory, device_memory=None).pool_nbytes


def test_memory_is_for_all_workers() -> None:
    assert pool_nbytes("48MiB") == parse_nbytes("48MiB")


def test_memory_limit_is_for_one_worker() -> None:
    assert pool_nbytes(memory_limit="1GiB", workers=3) == 3 * GIB


def test_memory_counts_before_memory_limit() -> None:
    assert pool_nbytes(GIB, memory_limit="3GiB") == GIB


def test_memory_limit_as_a_share() -> None:
    assert pool_nbytes(memory_limit=0.25) == 2 * int(0.25 * psutil.virtual_memory().total)


@pytest.mark.parametrize("limit", [None, "auto", 0])
def test_no_limit_is_the_machines_share(monkeypatch: pytest.MonkeyPatch, limit: object) -> None:
    monkeypatch.setattr(machine, "available_nbytes", lambda: 8 * GIB)
    assert pool_nbytes(memory_limit=limit) == pool_nbytes() == int(machine.HOST_FRACTION * 8 * GIB)


def test_sizes_that_cannot_be_read() -> None:
    with pytest.raises(UsageError, match="'much'"):
        pool_nbytes("much")
    with pytest.raises(ClusterError, match="memory_limit='much'"):
        pool_nbytes(memory_limit="much")


@pytest.mark.parametrize(
    ("device_memory", "limit", "expected"),
    [("4GiB", None, 4 * GIB), (None, "6GiB", 6 * GIB), (None, 0.5, 70 * GIB), ("4GiB", "6GiB", 4 * GIB)],
)
def test_device_memory(
    monkeypatch: pytest.MonkeyPatch, device_memory: str | None, limit: object, expected: int
) -> None:
    monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("NVIDIA H200", 141 * GIB), backend.GPU("x", 140 * GIB)))
    found = budgets("cuda", 2, 2, {"device_memory_limit": limit}, memory=GIB, device_memory=device_memory)
    assert (found.device, found.device_nbytes, found.workers, found.threads) == ("cuda", expected, 2, 2)
