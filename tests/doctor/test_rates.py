"""What plans take of figures: one worker's share while all are busy, under the names that plans have."""

import pytest

from doctor.machines import server
from overspill.doctor import rates
from overspill.doctor.figures import Figure
from overspill.doctor.measure import TASKS
from overspill.profile import Machine

HERE = Machine("AMD EPYC 9554", 64, ("NVIDIA H200",) * 2, "580.95.05")

FIGURES = (
    Figure("cpu", "product, float64", "FLOP", 6e10, (5e10, 3e10)),
    Figure("cpu", "memory copy", "B", 9e9, (8e9, 8e9)),
    Figure("cpu", "random numbers", "B", 5e8, (4e8, 4e8)),
    Figure("cpu", "elementwise, in memory", "B", failure="no memory"),
    Figure("cpu", "disk, reading", "B", 3e9, (1e9, 1e9)),
    Figure("cpu", TASKS, "tasks", 1000.0, (1000.0,)),
    Figure("cuda", "product, float16", "FLOP", 8e14, (7e14, 7e14)),
    Figure("cuda", "link, up", "B", 55e9, (52e9, 50e9)),
    Figure("cuda", "link, down", "B", 55e9, (40e9, 40e9)),
    Figure("cuda", "link, both ways at once", "B", 95e9, (70e9, 70e9)),
    Figure("cuda", "fused elementwise", "additions", 1.4e13, (1.4e13, 1.4e13)),
    Figure("cuda", TASKS, "tasks", 500.0, (500.0,)),
)


def test_rates_of_cores_and_gpus() -> None:
    found = rates.profile("2026-11-22T00:00:00+00:00", HERE, server(), FIGURES)
    assert found.machine == HERE
    assert found.disk_per_s == 2e9
    assert found.rates["cpu"] == {
        "gemm_flop_per_s": {"float64": 4e10},
        "upload_per_s": 8e9,
        "download_per_s": 8e9,
        "both_ways_per_s": 8e9,
        "recompute_per_s": 4e8,
        "disk_per_s": 3e9,
        "task_s": pytest.approx(1e-3),
    }
    assert found.rates["cuda"] == {
        "gemm_flop_per_s": {"float16": 7e14},
        "upload_per_s": 51e9,
        "download_per_s": 40e9,
        "both_ways_per_s": 70e9,
        "elementwise_per_s": 1.4e13,
        "recompute_per_s": 4e8,
        "disk_per_s": 3e9,
        "task_s": pytest.approx(2e-3),
    }
    assert len(found.figures) == len(FIGURES)


def test_without_gpus_there_are_no_rates_of_gpus() -> None:
    cores = [figure for figure in FIGURES if figure.side == "cpu"]
    assert rates.profile("2026-11-22", HERE, server(), cores).rates["cuda"] == {}
    assert rates.profile("2026-11-22", HERE, server(), cores[:1]).disk_per_s is None
