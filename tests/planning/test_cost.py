from dataclasses import replace

import pytest

from cases import GPU_RATES, resources
from overspill.planning.cost import HALF_RATE_WIDTH, Traffic, predict

EVEN = Traffic(
    tasks=8,
    flop=8 * 10**14,
    uploaded_nbytes=0,
    downloaded_nbytes=0,
    read_nbytes=0,
    recomputed_nbytes=0,
    prepared_nbytes=0,
    largest_tile=1 / 8,
    panel_width=10**9,
    first_panels=(1.0,),
    last_panel=1.0,
    last_band=1.0,
)


def test_computing_takes_its_flop_over_the_rate_of_all_workers() -> None:
    rates = replace(GPU_RATES, task_s=0.0)
    four = replace(resources("cuda", workers=4), rates=rates)
    seconds, bound = predict(EVEN, four, "float64")
    assert bound == "compute"
    assert seconds == pytest.approx(8e14 / (4 * 5e13), rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "bound"),
    [
        ({"uploaded_nbytes": 10**15}, "link"),
        ({"downloaded_nbytes": 10**15}, "link"),
        ({"read_nbytes": 10**14}, "disk"),
        ({"recomputed_nbytes": 10**14}, "recompute"),
        ({}, "compute"),
    ],
)
def test_the_slowest_of_what_overlaps_is_named(changed: dict[str, int], bound: str) -> None:
    assert predict(replace(EVEN, **changed), resources("cuda"), "float64")[1] == bound


def test_nothing_overlaps_on_one_core() -> None:
    cpu, rates = resources("cpu"), resources("cpu").rates
    alone, _ = predict(EVEN, cpu, "float64")
    reading, _ = predict(replace(EVEN, read_nbytes=10**12), cpu, "float64")
    assert reading - alone == pytest.approx(10**12 / rates.disk_per_s)


def test_on_a_core_the_result_is_made_where_it_stays() -> None:
    cpu = resources("cpu")
    assert predict(replace(EVEN, downloaded_nbytes=10**12), cpu, "float64") == predict(EVEN, cpu, "float64")


@pytest.mark.parametrize(("threads", "tasks"), [(1, 8), (2, 1)])
def test_a_task_alone_on_its_gpu_goes_up_then_multiplies_then_goes_down(threads: int, tasks: int) -> None:
    down = replace(EVEN, tasks=tasks, largest_tile=1 / tasks, flop=10**9, downloaded_nbytes=4 * 10**11)
    gpu = replace(resources("cuda", threads=threads), rates=replace(GPU_RATES, task_s=0.0))
    assert predict(down, gpu, "float64")[0] == pytest.approx(4e11 / GPU_RATES.download_per_s, rel=1e-3)


def test_tasks_side_by_side_share_the_link_both_ways() -> None:
    nbytes = 4 * 10**12
    both = replace(EVEN, uploaded_nbytes=nbytes, downloaded_nbytes=nbytes, first_panels=(0.0,))
    gpu = replace(resources("cuda", threads=2), rates=replace(GPU_RATES, both_ways_per_s=5e10, task_s=0.0))
    assert predict(both, gpu, "float64")[0] > 2 * nbytes / 5e10


def test_nothing_comes_down_while_the_first_panels_go_up() -> None:
    """So the first half of the first tile of eight goes up at the full speed of that direction."""
    rates = replace(GPU_RATES, task_s=0.0, both_ways_per_s=1e10)
    gpu = replace(resources("cuda", threads=2), rates=rates)
    streamed = replace(EVEN, uploaded_nbytes=8 * 10**10)
    begun = (predict(replace(streamed, first_panels=panels), gpu, "float64")[0] for panels in ((0.5,), ()))
    assert next(begun) - next(begun) == pytest.approx(5e9 / GPU_RATES.upload_per_s)


def test_a_task_too_many_costs_a_round() -> None:
    even, _ = predict(EVEN, resources("cuda", workers=4), "float64")
    uneven, _ = predict(replace(EVEN, tasks=9), resources("cuda", workers=4), "float64")
    assert uneven > 1.3 * even


def test_tiles_of_several_sizes_cost_as_many_of_the_largest() -> None:
    even, _ = predict(EVEN, resources("cuda", workers=4), "float64")
    uneven, _ = predict(replace(EVEN, largest_tile=1 / 6), resources("cuda", workers=4), "float64")
    assert uneven == pytest.approx(even * 8 / 6, rel=0.01)


def test_narrow_panels_are_slower() -> None:
    wide, _ = predict(EVEN, resources("cuda"), "float64")
    narrow, _ = predict(replace(EVEN, panel_width=HALF_RATE_WIDTH["cuda"]), resources("cuda"), "float64")
    assert narrow == pytest.approx(2 * wide, rel=0.1)
