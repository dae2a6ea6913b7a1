"""What there is to mend, from figures: those far below what such a machine gives, and those that failed."""

import pytest

from doctor.machines import server
from overspill.doctor.figures import Figure
from overspill.doctor.shortfalls import of_figures

KNOWN = {"float64": 49e12}

GOOD = (
    Figure("cpu", "disk, reading", "B", 3e9, (1e8,) * 64),
    Figure("cuda", "product, float64", "FLOP", 55e12, (54e12, 53e12, 54e12, 54e12)),
    Figure("cuda", "link, up", "B", 55e9, (52e9,) * 4),
    Figure("cuda", "link, down", "B", 55e9, (40e9,) * 4),
)


def test_good_figures_need_nothing() -> None:
    assert list(of_figures(server(), GOOD, KNOWN)) == []


def test_nothing_is_expected_of_what_nobody_knows() -> None:
    slow = (Figure("cuda", "link, up", "B", 1e9, (1e9,)), Figure("cuda", "product, float64", "FLOP", 1e12, (1e12,)))
    assert list(of_figures(server(cuda={"gpus": ()}), slow, {})) == []


@pytest.mark.parametrize(
    ("figure", "parts"),
    [
        (
            Figure("cuda", "link, up", "B", 25e9, (24e9,) * 4),
            ["link, up: a GPU alone copies 25 GB/s", "its slot's 63 GB/s", "nvidia-smi"],
        ),
        (
            Figure("cuda", "link, up", "B", 55e9, (52e9, 52e9, 30e9, 52e9)),
            ["link, up: GPU 2 does 30 GB/s while the others do 52 GB/s"],
        ),
        (
            Figure("cuda", "product, float64", "FLOP", 20e12, (20e12,) * 4),
            ["multiplies float64 at 20 TFLOP/s, its kind does 49 TFLOP/s", "PERFORMANCE"],
        ),
        (
            Figure("cuda", "product, float64", "FLOP", 55e12, (54e12, 40e12, 54e12, 54e12)),
            ["product, float64: GPU 1 does 40 TFLOP/s while the others do 54 TFLOP/s"],
        ),
        (
            Figure("cpu", "disk, writing", "B", 30e6, (1e6,) * 64),
            ["/scratch is slow (disk, writing 30 MB/s)", "temporary-directory"],
        ),
        (
            Figure("cpu", "disk, writing", "B", failure="No space left on device"),
            ["not measured, so that plans keep the built-in figures: disk, writing (No space left on device)"],
        ),
        (
            Figure("cuda", "link, up", "B", failure="the system does not let a process page-lock 128 MiB"),
            ["locked memory is 8 MiB by ulimit -l", "page-lock 128 MiB", "ulimit -l unlimited", "memlock=-1"],
        ),
    ],
)
def test_one_shortfall_makes_one_line(figure: Figure, parts: list[str]) -> None:
    figures = [each for each in GOOD if each.name != figure.name] + [figure]
    (line,) = of_figures(server(), figures, KNOWN)
    assert [part for part in parts if part not in line] == []


def test_what_cannot_be_page_locked_is_said_once() -> None:
    why = "the system does not let a process page-lock 128 MiB"
    failed = [Figure("cuda", name, "B", failure=why) for name in ("link, up", "link, down")]
    (line,) = of_figures(server(locked_nbytes=None), failed, {})
    assert "locked memory is unlimited" in line
