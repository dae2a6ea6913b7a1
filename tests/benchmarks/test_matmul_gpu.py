"""The benchmark of products: its matrices, checks and contenders as far as they need no GPU; on a GPU all of it."""

import contextlib
import ctypes
import importlib
import json
import math
import os
import subprocess
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client

import overspill as osp
from cases import environment
from overspill import backend

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

DTYPES = ("float64", "float32", "complex64", "float16")

N = 300


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def module(name: str) -> Any:
    return importlib.import_module(name)


def product(dtype: str) -> Any:
    wide = np.result_type(dtype, np.float64)
    a, b = (module("matmul_matrices").block(np, name, (0, N), (0, N), dtype).astype(wide) for name in "AB")
    return (a @ b).astype(dtype)


def looked_up(c: Any) -> Any:
    return lambda rows, columns: c[np.ix_(rows, columns)]


def found(seconds: float, **more: Any) -> dict[str, Any]:
    return module("matmul_peers").rates(4096, "float64", [2 * seconds, seconds, seconds]) | {"value": 1.0} | more


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_product_passes(dtype: str) -> None:
    matrices, c = module("matmul_matrices"), product(dtype)
    checked = matrices.check(N, dtype, complex(c.astype("complex128").sum()), looked_up(c))
    assert checked["error"] < 1e-3 and checked["value"] == pytest.approx(1.0, rel=matrices.TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_are_parts_of_one_matrix(dtype: str) -> None:
    matrices = module("matmul_matrices")
    whole = matrices.block(np, "B", (0, N), (0, N), dtype)
    assert (
        whole.dtype == dtype
        and abs(whole.mean() - whole.dtype.type(0.5 + 0.5j if dtype == "complex64" else 0.5)) < 0.01
    )
    assert len(np.unique(whole)) > (0.99 * N**2 if dtype == "float64" else 1000)
    np.testing.assert_array_equal(matrices.block(np, "B", (50, 170), (30, 200), dtype), whole[50:170, 30:200])
    part = np.empty((120, 170), dtype)
    matrices.fill(part, "B", (50, 170), (30, 200))
    np.testing.assert_array_equal(part, whole[50:170, 30:200])
    lazy = matrices.array("numpy", "B", N, 130, dtype)
    assert lazy.dtype == dtype and lazy.chunks == ((130, 130, 40),) * 2
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), whole)


def test_a_wrong_product_is_found() -> None:
    matrices, c = module("matmul_matrices"), product("float64")
    right = float(c.sum())
    with pytest.raises(AssertionError, match="wrong by"):  # one element where nobody looks
        matrices.check(N, "float64", right + 1e-3 * c[1, 1], looked_up(c))
    swapped = c[:, ::-1]
    with pytest.raises(AssertionError, match="wrong by"):  # the same sum
        matrices.check(N, "float64", float(swapped.sum()), looked_up(swapped))
    with pytest.raises(AssertionError, match="wrong by"):
        matrices.check(N, "float64", math.nan, looked_up(c))
    with pytest.raises(AssertionError, match="float32"):
        matrices.check(N, "float64", right, looked_up(c.astype("float32")))


def test_operations() -> None:
    flop = module("matmul_matrices").flop
    assert [flop(10, dtype) for dtype in ("float64", "float16", "complex64")] == [2000, 2000, 8000]


def test_products_over_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    works, matrices, held = module("matmul_works"), module("matmul_matrices"), module("spill_works").held
    readings = iter([[7000, 300], [8000, 900]])
    monkeypatch.setattr(module("memory_use"), "on_gpus_nbytes", lambda: next(readings, [7500, 100]))
    monkeypatch.setattr(backend, "gpus", tuple)
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        a, b = (held(client, matrices.array("numpy", name, N, 100, "float32")) for name in "AB")
        ours = works.planned_and_done(client, a, b, 2, [5000, 100])
        with pytest.raises(AssertionError, match="wrong by"):
            works.check(client, a @ a)
    assert ours["n"] == N and ours["dtype"] == "float32" and len(ours["warm_s"]) == 2
    assert ours["peak_device_nbytes"] == 3000 and ours["planned_device_nbytes"] == 0  # no GPU in its plan
    assert ours["predicted_s"] > 0 and ours["plan"]["flop"] == ours["flop"] == 2 * N**3
    assert ours["ledger"]["flop"] == 3 * ours["flop"]


def test_what_a_process_takes_without_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, readings = module("memory_use"), iter([[100, 5], [700, 5]] * 2)
    monkeypatch.setattr(memory, "on_gpus_nbytes", lambda: next(readings))
    monkeypatch.setattr(memory, "LOADED", "print(flush=True); input()")
    assert memory.context_nbytes() == 600
    monkeypatch.setattr(memory, "LOADED", "")
    with pytest.raises(AssertionError, match="cuBLAS cannot be used"):
        memory.context_nbytes()


def column_major(address: int, rows: int, columns: int, leading: int) -> Any:
    numbers = np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_double)), (columns, leading))
    return numbers[:, :rows].T


def as_documented(handle: Any, transa: int, transb: int, m: int, n: int, k: int, *rest: Any) -> int:
    """``cublasXtDgemm`` of matrices that are not transposed."""
    alpha, a, lda, b, ldb, beta, c, ldc = rest
    out = column_major(c, m, n, ldc)
    found = alpha.value * column_major(a, m, k, lda) @ column_major(b, k, n, ldb)
    out[...] = found + (beta.value * out if beta.value else 0)
    return 0 if (transa, transb) == (0, 0) else 7


@pytest.fixture
def cublas(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The calls of a cuBLASXt that computes on the host."""
    calls: list[tuple[Any, ...]] = []

    def noted(name: str, outcome: Any) -> Any:
        def function(*arguments: Any) -> int:
            assert len(arguments) == len(function.argtypes)  # type: ignore[attr-defined]
            calls.append((name, *arguments))
            return int(outcome(*arguments))

        return function

    def describe(status: int) -> bytes:
        return b"an access to GPU memory space failed" if status == 11 else b"?"

    names = dict.fromkeys(module("cublasxt").SIGNATURES, lambda *arguments: 0) | {"cublasXtDgemm": as_documented}
    library = types.SimpleNamespace(**{name: noted(name, one) for name, one in names.items()})
    library.cublasGetStatusString = describe
    monkeypatch.setattr(module("cublasxt"), "library", lambda: library)
    return calls


def test_cublasxt_multiplies_matrices_in_c_order(cublas: list[tuple[Any, ...]]) -> None:
    xt, rng = module("cublasxt"), np.random.default_rng(0)
    a, b, out = rng.random((5, 3)), rng.random((3, 4)), np.full((5, 4), np.nan)
    with xt.opened([0, 2], 4096) as handle:
        xt.dgemm(handle, a, b, out)
    np.testing.assert_allclose(out, a @ b)
    assert [call[0] for call in cublas] == list(xt.SIGNATURES)
    _, _, count, devices = cublas[1]
    assert count == 2 and list(devices) == [0, 2] and cublas[2][2] == 4096


def test_cublasxt_competes(cublas: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    xt, peers = module("cublasxt"), module("matmul_peers")
    locked: list[int] = []
    runtime = types.SimpleNamespace(
        hostRegister=lambda address, nbytes, flags: locked.append(address), hostUnregister=locked.remove
    )
    monkeypatch.setitem(sys.modules, "cupy", types.ModuleType("cupy"))
    monkeypatch.setitem(sys.modules, "cupy.cuda", types.SimpleNamespace(runtime=runtime))
    xt.library().cublasXtSetBlockDim = lambda handle, block: 11 * (block == 16384)
    size = peers.Size(n=N, chunk=100, device_chunk=100, device_nbytes=2**30, stock_scale=1.0, repeats=2)
    with contextlib.ExitStack() as stack:
        one = peers.cublasxt_product(stack, size, gpus=1)
        assert len(locked) == 3
    assert locked == []
    assert one["by_block"][16384] == {"failed": "cublasXtSetBlockDim: an access to GPU memory space failed"}
    assert one["block"] in (4096, 8192) and one["tflop_per_s"] == max(
        one["by_block"][block]["tflop_per_s"] for block in (4096, 8192)
    )
    assert len(one["warm_s"]) == 2 and one["error"] < 1e-12
    assert [call[0] for call in cublas].count("cublasXtDestroy") == 3


def test_the_library_that_is_loaded(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 08:01 42   /opt/nvidia libs/libcublasLt.so.13\n"
        "7f02-7f03 rw-p 00000000 00:00 0\n"
        "7f04-7f05 r-xp 00000000 08:01 43   /opt/nvidia libs/libcublas.so.13\n"
    )
    xt = module("cublasxt")
    assert xt.mapped("libcublas.so", maps) == "/opt/nvidia libs/libcublas.so.13"
    with pytest.raises(xt.CublasError, match="libcudart"):
        xt.mapped("libcudart.so", maps)


def test_who_competes() -> None:
    works = module("matmul_works")
    assert list(works.competing("scaling", 3)) == ["overspill on 1 GPU", "overspill on 2 GPUs"]
    assert len(works.competing("scaling", 4)) == 3
    for work in works.WORKS:
        assert next(iter(works.competing(work, 4))).startswith("overspill") or work == "peak"
    assert not works.competing("large", 2)


def test_some_may_be_asked_for() -> None:
    benchmark, names = module("matmul_gpu"), ["overspill", "stock dask on TCP", "stock dask on UCXX and RMM", "jax"]
    for given, asked_for in (([], names), (["--who", "jax,overspill"], names[::3]), (["--who", "stock"], names[1:3])):
        assert benchmark.asked_for(benchmark.parser().parse_args(given), names) == asked_for


def test_a_run_in_which_nobody_competes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = module("matmul_gpu")
    monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("H200", 2**37),) * 2)
    with pytest.raises(SystemExit, match="nobody who is asked for does large on 2 GPUs"):
        benchmark.compare(benchmark.parser().parse_args(["--only", "large"]))


@pytest.mark.parametrize(
    ("given", "gpus", "name"),
    [
        ([], 4, "matmul_gpu_4"),
        (["--only", "host,one"], 2, "matmul_gpu_2_host_one"),
        (["--only", "host", "--n", "98304"], 4, "matmul_gpu_4_host_98304"),
    ],
)
def test_parts_of_a_run_have_files_of_their_own(given: list[str], gpus: int, name: str) -> None:
    benchmark = module("matmul_gpu")
    assert benchmark.name(benchmark.parser().parse_args(given), gpus) == name


def test_products_are_larger_on_more_gpus() -> None:
    benchmark = module("matmul_gpu")

    def n(gpus: int, *given: str) -> int:
        return int(benchmark.size_of(benchmark.parser().parse_args(given), gpus).n)

    assert (n(1, "--only", "host"), n(4, "--only", "host"), n(4, "--only", "one")) == (49152, 65536, 49152)
    assert n(4, "--only", "one", "--n", "512") == 512
    assert n(4, "--only", "large") == 98304


def test_slow_products_are_repeated_less() -> None:
    repeated, products = module("matmul_peers").repeated, iter(range(9))
    last, seconds = repeated(lambda: next(products), 3, 0.0)
    assert last == 1 and len(seconds) == 2
    last, seconds = repeated(lambda: next(products), 3)
    assert last == 5 and len(seconds) == 4


def test_who_is_not_installed_is_a_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark, contender = module("matmul_gpu"), "stock dask on UCXX and RMM"
    monkeypatch.setattr(backend, "gpus", lambda: (backend.GPU("slide rule", 2**30),))
    monkeypatch.setitem(sys.modules, "distributed_ucxx", None)
    monkeypatch.setitem(sys.modules, "rmm", types.ModuleType("rmm"))
    benchmark.compete(benchmark.parser().parse_args(["--only", "host", "--contender", contender]))
    told = json.loads(capsys.readouterr().out)
    assert "distributed_ucxx" in told["failed"]
    row = benchmark.line("host", contender, {contender: told})
    assert row.startswith(f"host     {contender}") and row.endswith(told["failed"])


def test_what_is_told_and_drawn() -> None:
    peak = {"peak_tflop_per_s": 2.0}
    plan = {"predicted_s": 0.1, "peak_device_nbytes": 2**30, "planned_device_nbytes": 2**31}
    outcomes = {
        "overspill": found(0.08, **peak, **plan),
        "jax": found(0.07),
        "stock dask on TCP": {"failed": "took longer than 1 s\nand more"},
    }
    line = module("matmul_gpu").line
    told = "device overspill 4096 0.16 0.080 1.7 0.859 0.100 s, 1 GiB of 2 GiB planned on a GPU"
    assert " ".join(line("device", "overspill", outcomes).split()) == told
    assert line("device", "jax", outcomes).split()[-2:] == ["2.0", "0.982"]
    assert line("device", "stock dask on TCP", outcomes).endswith("took longer than 1 s")
    (panel,) = module("panels").read("matmul_gpu_4", {"outcomes": {"device": outcomes}})
    assert panel.unit == "TFLOP/s" and panel.line.value == 2.0
    assert [row.contender for row in panel.rows] == list(outcomes) and panel.rows[0].predicted_s == 0.1
    captions = module("captions")
    assert captions.heading(captions.subject("matmul_gpu_4"), panel.work) != "device"


def test_different_peaks_are_no_line() -> None:
    panels = module("panels")
    outcomes = {f"overspill, {n} GPUs": found(1 / n, peak_tflop_per_s=50.0 * n) for n in (1, 2)}
    (panel,) = panels.read("matmul_gpu_4", {"outcomes": {"scaling": outcomes}})
    assert panel.line is None and [row.ceiling for row in panel.rows] == [50.0, 100.0]
    rates = {
        "float64": {"n": 16384, "flop": 2 * 16384**3, "gpus": 2, "tflop_per_s": 110.0, "each_tflop_per_s": [54.0, 56.0]}
    }
    (panel,) = panels.read("matmul_gpu_4", {"outcomes": {"peak": rates}})
    assert panel.unit == "TFLOP/s" and [(row.middle, row.repetitions) for row in panel.rows] == [(110.0, ())]


def test_a_killed_worker_is_compared_with_none() -> None:
    works, killed, n = module("matmul_works"), module("matmul_killed"), 1536
    with osp.cluster(gpu=False, n_workers=2, memory="512MiB", dashboard_address=None) as opened:
        client, make = opened.client, partial(works.host_operands, opened.client, n, 256, "float64")
        found = works.without_one(client, n, make, partial(osp.matmul, chunks=128))
        left = client.run(os.getpid).values()
    assert found["error"] < 1e-12 and found["n"] == n
    assert found["killed_s"] == pytest.approx(sum(found["parts"]["killed"].values()))
    assert found["ratio"] == pytest.approx(found["killed_s"] / found["undisturbed_s"])
    kill = found["kill"]
    assert kill["tiles"] == 144 and 72 <= kill["tiles_there"] < 144
    assert kill["worker"] in ("0", "1") and kill["pid"] not in left
    told = module("matmul_gpu").line("killed", "overspill", {"overspill": found})
    assert f"{found['ratio']:.2f} times" in told and f"of {kill['tiles']} tiles" in told
    (panel,) = module("panels").read("matmul_gpu_4", {"outcomes": {"killed": {"overspill": found}}})
    (row,) = panel.rows
    assert (panel.unit, row.middle, row.undisturbed_s) == ("s", found["killed_s"], found["undisturbed_s"])
    captions = module("captions")
    assert ", undisturbed " in captions.right_of(row, panel.unit)
    assert f"{found['ratio']:.2f} of " in module("tables").table(captions.subject("matmul_gpu_4"), [panel])
    with (
        Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as alone,
        pytest.raises(killed.TooFewWorkersError, match="there is 1: use two"),
    ):
        works.without_one(alone, n, make, osp.matmul)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_benchmark_itself(tmp_path: Path) -> None:
    small = "--gpus 1 --n 4096 --chunk 1024 --device-chunk 1024 --device-limit 1GiB --repeats 1"
    program = [sys.executable, str(BENCHMARKS / "matmul_gpu.py"), *small.split(), "--results", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    outcomes = json.loads((tmp_path / "matmul_gpu_1_4096.json").read_text())["outcomes"]
    assert outcomes.keys() == module("matmul_works").WORKS.keys()
    alone = outcomes["killed"].pop("overspill")
    assert "use two" in alone["failed"]
    ours = [one for found in outcomes.values() for name, one in found.items() if name.startswith("overspill")]
    assert len(ours) == 7 and not [one for one in ours if {"failed", "unended"} & one.keys()]
    assert "failed" not in outcomes["one"]["cuBLASXt"]
