"""The benchmark of streamed sparse products: its matrix, its checks, its products on CPUs; on a GPU the whole of it."""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

from cases import environment

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def module(name: str) -> Any:
    return importlib.import_module(name)


def found(seconds: float, **more: Any) -> dict[str, Any]:
    times = {"first_s": 2 * seconds, "warm_s": [seconds, seconds], "gb_per_s": 2**31 / seconds / 1e9}
    return {"nbytes": 2**31, "made_s": 1.0, "value": 5.0} | times | more


def test_expected_rows_are_those_of_the_product() -> None:
    matrices = module("sparse_stream_matrix")
    size = matrices.Size(blocks=3, block_rows=40, repeats=1)
    y = matrices.matrix(size).to_scipy() @ matrices.vector(np, 0, size.rows)
    for start, stop in [(0, 120), (0, 5), (3, 119), (50, 60), (113, 120)]:
        np.testing.assert_array_equal(matrices.expected(size, start, stop), y[start:stop])


def test_a_wrong_row_is_found() -> None:
    matrices = module("sparse_stream_matrix")
    size = matrices.Size(blocks=4, block_rows=3000, repeats=1)
    y = matrices.expected(size, 0, size.rows)
    assert matrices.check(size, lambda number, rows: y[slice(*size.bounds(number))][rows]) == 8000
    y[size.rows - 1] *= 1 + 1e-12
    with pytest.raises(AssertionError, match="block 3"):
        matrices.check(size, lambda number, rows: y[slice(*size.bounds(number))][rows])


@pytest.mark.parametrize(("nbytes", "block_rows"), [(2**34, 2**21), (10**6, 1000), (1, 50)])
def test_the_matrix_is_as_large_as_asked_for(nbytes: int, block_rows: int) -> None:
    matrices = module("sparse_stream_matrix")
    size = matrices.size_of(nbytes, block_rows, 1)
    A = matrices.matrix(size)
    assert len(A.blocks) == size.blocks and set(A.row_chunks) == {block_rows}
    assert nbytes <= A.nbytes <= nbytes + 3 * block_rows * matrices.ROW_NBYTES


def test_products_over_tasks_agree() -> None:
    works, matrices = module("sparse_stream_works"), module("sparse_stream_matrix")
    size = matrices.Size(blocks=3, block_rows=2000, repeats=2)
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        ours = works.multiply_tiles(client, size, "numpy")
        stock = works.multiply_futures(client, size, "numpy", lambda block, x, window: block @ x[slice(*window)])
    for one in (ours, stock):
        assert one["nbytes"] == matrices.matrix(size).nbytes and len(one["warm_s"]) == 2
        assert one["value"] == matrices.expected(size, 0, size.rows).sum()


@pytest.mark.parametrize("value", [5.0 + 1e-10, -5.0, math.nan])
def test_who_finds_something_else_has_failed(value: float) -> None:
    outcomes = {"overspill": found(1.0), "by hand": found(1.0, value=value), "stock dask": found(2.0)}
    module("agreement").agree(outcomes, module("sparse_stream_gpu").WITHIN)
    assert [name for name, one in outcomes.items() if "failed" in one] == ["by hand"]


def test_what_is_told_and_drawn() -> None:
    outcomes = {
        "overspill": found(0.05, link_gb_per_s=50.0, peak_device_nbytes=2**30, limit_nbytes=2**31),
        "stock dask": {"failed": "ended with status 1\nand more"},
        "by hand": found(0.1),
    }
    line = module("sparse_stream_gpu").line
    told = "overspill 2 GiB 1.0 0.10 0.050 42.95 0.859, 1 GiB of 2 GiB in use on a GPU"
    assert " ".join(line("overspill", outcomes).split()) == told
    assert line("stock dask", outcomes).split() == ["stock", "dask", "ended", "with", "status", "1"]
    assert line("by hand", outcomes).split()[-2:] == ["21.47", "0.429"]
    work = module("sparse_stream_gpu").WORK
    (panel,) = module("panels").read("sparse_stream_gpu_2", {"outcomes": {work: outcomes}})
    assert [row.contender for row in panel.rows] == list(outcomes) and panel.line.value == 50.0
    captions = module("captions")
    assert captions.heading(captions.subject("sparse_stream_gpu_2"), panel.work) != work


def test_gpus_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark = module("sparse_stream_gpu")
    benchmark.compete(benchmark.parser().parse_args(["--gpus", "64", "--contender", "by hand"]))
    assert json.loads(capsys.readouterr().out)["failed"].startswith("RuntimeError: --gpus 64: there are ")


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_itself(tmp_path: Path) -> None:
    small = ["--device-limit", "1GiB", "--block-rows", "262144", "--repeats", "2", "--results", str(tmp_path)]
    program = [sys.executable, str(BENCHMARKS / "sparse_stream_gpu.py"), *small]
    done = subprocess.run(program, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    outcomes = json.loads((tmp_path / "sparse_stream_gpu.json").read_text())["outcomes"]["product"]
    assert outcomes.keys() == {"overspill", "stock dask", "by hand"}
    assert not [one for one in outcomes.values() if {"failed", "unended"} & one.keys()]
