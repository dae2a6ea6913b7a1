"""What the plan of passes adds up, and says."""

from dataclasses import replace

import pytest

from cases import resources
from overspill.planning.elapsed import elapsed
from overspill.planning.one_pass import Pass, Peak
from overspill.planning.operations import Operations
from overspill.planning.passes import Passes, plan_passes

MIB = 2**20
BOTH_WAYS = Pass(uploaded_nbytes=64 * MIB, downloaded_nbytes=64 * MIB, device_nbytes=128 * MIB)
ON_GPUS = resources("cuda", workers=2, threads=2, device_nbytes=2**40)


def found(work: Pass, *, peak: Peak | None = None, written_nbytes: int = 0) -> Passes:
    return plan_passes([work] * 10, [peak or Peak()] * 10, written_nbytes, ON_GPUS)


def test_totals_are_of_all_tasks_and_peaks_of_the_largest() -> None:
    one, two = Pass(1, 2, 3, 4, 5, 6, 7, Operations(8, 9), Operations(10, 11)), BOTH_WAYS
    plan = plan_passes([one, two], [Peak(5, 1, 1), Peak(1, 7, 2)], 0, ON_GPUS)
    assert (plan.tasks, plan.total, plan.peak) == (2, one + two, Peak(5, 7, 2))
    assert (plan.device_nbytes, plan.temporary_nbytes) == (10, 8)


def test_work_in_numpy_moves_nothing_and_does_the_same() -> None:
    work = Pass(1, 2, 3, 4, 5, 6, 7, Operations(8, 9), Operations(10, 11))
    assert work.in_numpy() == Pass(read_nbytes=4, made_nbytes=5, host_nbytes=13, on_host=Operations(18, 20))
    cores = replace(ON_GPUS, device="cpu", rates=ON_GPUS.host_rates)
    assert found(work).numpy_s == elapsed([work.in_numpy()] * 10, cores)[0]


def test_work_on_the_host_is_compared_with_nothing() -> None:
    plan = found(Pass(host_nbytes=MIB))
    assert plan.numpy_s is plan.advice is None
    assert "CuPy" not in str(plan.rows())


def test_rows_name_what_moves_and_nothing_else() -> None:
    rows = dict(found(BOTH_WAYS, peak=Peak(192 * MIB, 128 * MIB)).rows())
    assert rows["passes"] == "10 tasks: 640 MiB to devices, 640 MiB back, 1.25 GiB read and written on devices"
    assert rows["  a task"] == "at most 192 MiB on the device and 128 MiB in host memory"
    assert rows["  side"].startswith("CuPy: NumPy would take ")
    assert dict(found(Pass(read_nbytes=MIB, made_nbytes=MIB, host_nbytes=MIB)).rows())["passes"] == (
        "10 tasks: 10 MiB from disk, 10 MiB made, 10 MiB read and written in host memory"
    )
    assert plan_passes([], [], 0, ON_GPUS).rows() == []


def test_chunks_of_both_residences_are_noted() -> None:
    rows = dict(found(replace(BOTH_WAYS, mixed_nbytes=16 * MIB)).rows())
    assert rows["  mixed"] == "160 MiB of host chunks go up to meet device chunks"
    assert "  mixed" not in dict(found(BOTH_WAYS).rows())


def test_small_arrays_are_better_left_on_the_host() -> None:
    rows = dict(found(Pass(uploaded_nbytes=1000, downloaded_nbytes=1000, device_nbytes=2000)).rows())
    assert rows["  advice"] == (
        "leave it on the host: CuPy takes 12.5 ms, bound by Dask's own work for each task, NumPy 6 ms"
    )
    assert "  side" not in rows


@pytest.mark.parametrize(("written_nbytes", "said"), [(8, False), (2**32, True)])
def test_writing_is_told_where_it_counts(written_nbytes: int, said: bool) -> None:
    plan = found(BOTH_WAYS, written_nbytes=written_nbytes)
    assert plan.write_s == written_nbytes / 4e9
    assert ("more if saved" in plan.seconds) == said
