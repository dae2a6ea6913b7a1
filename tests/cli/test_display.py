"""What is printed fits 80 columns, keeps paths whole, and gives rates and whole numbers as people read them."""

import io
import logging
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import Any, cast

import dask.array as da
import numpy as np
import pytest
from rich.console import Console

import overspill as osp
from overspill.cli.display import Display
from overspill.ops.check import Check
from overspill.runs.preview import preview
from overspill.runs.report import Report


def shown(width: int = 80) -> tuple[Display, Console]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    return Display(console), console


def text(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def report(**values: Any) -> Report:
    whole: dict[str, Any] = {
        "directory": Path("run"),
        "arrays": {"C": Path("run/C.zarr"), "total": Path("run/total.zarr")},
        "values": {"total": np.float64(1612010)},
        "files": (),
        "checks": (Check(True, "it is right"), Check(False, "it is not " + "at all " * 20)),
        "blocks": 4,
        "seconds": 2.0,
        "check_s": 1.0,
        "flop": 4 * 10**9,
        "peak_tiles_nbytes": 2**20,
        "overflow_nbytes": 0,
        "spilled_nbytes": {"device_to_host": 0, "host_to_device": 0, "host_to_disk": 0, "disk_to_host": 0},
        "predicted_s": 1.0,
    }
    return Report(**whole | values)


def test_report() -> None:
    display, console = shown()
    display.report(report())
    lines = text(console).splitlines()
    assert lines[0] == "computed      4 blocks in 2 s: 2 GFLOP/s (predicted 1 s)"
    assert "total: 1,612,010" in lines
    assert "verified      it is right" in lines
    assert any(line.startswith("NOT RIGHT") for line in lines)
    assert "result        run/C.zarr" in lines
    assert not any("total.zarr" in line for line in lines)


def test_long_names_keep_results_in_line() -> None:
    display, console = shown()
    arrays = {"wind/kinetic_energy": da.ones((4, 4), chunks=2), "wind/u": da.ones((4, 4), chunks=4)}
    display.preview(preview(arrays))
    lines = text(console).splitlines()
    assert lines[0] == "wind/kinetic_energy 4 × 4 float64, 128 B, 4 blocks"
    assert lines[1] == "wind/u              4 × 4 float64, 128 B, 1 block"
    assert lines[2].startswith("tasks         ")


def test_what_was_made() -> None:
    display, console = shown()
    arrays = {f"wind/{name}": Path(f"run/wind.zarr/{name}") for name in ("speed", "level")}
    display.report(report(arrays=arrays, values={}, files=(Path("run/map.png"),)))
    assert text(console).splitlines()[-3:] == [
        "result        run/wind.zarr",
        "file          run/map.png",
        "run           run",
    ]


def test_what_was_spilled() -> None:
    display, console = shown()
    links = {"device_to_host": 3 * 2**30, "host_to_device": 2**30, "host_to_disk": 0, "disk_to_host": 2**20}
    display.report(report(spilled_nbytes=links))
    expected = "spilled       3 GiB to host memory and 1 GiB back, 0 B to disk and 1 MiB back"
    assert expected in text(console).splitlines()
    display, console = shown()
    display.report(report())
    assert "spilled" not in text(console)


def test_a_run_shows_what_storing_takes_not_what_persisting_would() -> None:
    display, console = shown()
    seen = preview({"x": da.ones((4000, 4000), chunks=500)})
    assert "if persisted" in str(seen.plan)
    display.preview(seen)
    assert "memory" in text(console)
    assert "persisted" not in text(console)


def test_time_left_ends_with_the_work() -> None:
    display, _ = shown()
    seen = preview({"x": da.ones((4, 4), chunks=2)})
    cluster = Namespace(dashboard_link="", resources=Namespace(pool_nbytes=1))
    display.planned(seen, cast(Any, cluster))
    (task,) = display._progress.tasks
    left = []
    for done in range(5):
        display.advanced(done, 4, 0)
        left.append(task.fields["left"])
    display.checking()
    assert all(text.endswith(" left") for text in left[1:4])
    assert left[0] == left[4] == ""


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    display, console = shown(width)
    display.preview(preview({"C": osp.matmul(*(da.ones((3000, 3000), chunks=500),) * 2)}))
    display.report(report())
    assert max(map(len, text(console).splitlines())) <= width


def test_paths_are_never_cut() -> None:
    path = Path("/" + "/".join(["a-long-name"] * 10) + "/C.zarr")
    display, console = shown(40)
    display.report(report(arrays={"C": path}))
    assert str(path) in text(console)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (np.float64(2.5), "2.5"),
        (np.float64(1e6), "1,000,000"),
        (np.int64(-1234567), "-1,234,567"),
        (np.float64("nan"), "nan"),
        (np.complex128(1 + 2j), "(1+2j)"),
        (np.bool_(True), "True"),
    ],
)
def test_values(value: Any, printed: str) -> None:
    display, console = shown()
    display.report(report(values={"total": value}))
    assert f"total: {printed}\n" in text(console)


def test_a_solvers_last_words_stay() -> None:
    display, console = shown()
    logger = logging.getLogger("overspill.linalg")
    display.solving()
    for iteration in (10, 20):
        logger.info("cg: iteration %d, residual %.1e", iteration, 10.0**-iteration)
    display.checking()
    display.checking()
    logger.info("said to nobody")
    assert text(console) == "solved        cg: iteration 20, residual 1.0e-20\n"
