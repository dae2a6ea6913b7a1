"""The benchmark of blocks of tiles, with small ones."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.gpu


def test_contenders_differ_as_they_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from overspill.kernels import cublaslt, gemm_cuda

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    blocks = importlib.import_module("gemm_blocks_gpu")
    monkeypatch.setattr(blocks, "CHUNK", 256)
    monkeypatch.setattr(blocks, "FIRST_PANEL", 64)
    monkeypatch.setattr(blocks, "TILES", {"float64": (512, 768, 512), "complex64": (256, 512, 256)})
    monkeypatch.setattr(gemm_cuda, "BLOCK_SIDE", {"float64": 16384})
    monkeypatch.setattr(gemm_cuda, "COLUMN_MAJOR", gemm_cuda.COLUMN_MAJOR)
    monkeypatch.setattr(cublaslt, "KERNELS", cublaslt.KERNELS)
    asked = ["gemm_blocks_gpu.py", "--types", "float64,complex64", "--repeats", "2", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", asked)
    ways, gemm = set[tuple[object, ...]](), gemm_cuda.gemm

    def noted(a: object, b: object, c: Any, **options: Any) -> None:
        by_column = c.strides[0] < c.strides[1]
        ways.add((c.dtype.name, gemm_cuda.BLOCK_SIDE.get(c.dtype.name), bool(cublaslt.KERNELS), by_column))
        gemm(a, b, c, **options)

    monkeypatch.setattr(gemm_cuda, "gemm", noted)
    blocks.main()
    outcomes = json.loads((tmp_path / "gemm_blocks_gpu.json").read_text())["outcomes"]
    ours = {
        work: [name for name in found["seconds"] if name.startswith("overspill")] for work, found in outcomes.items()
    }
    assert ours == {
        "host, float64": ["overspill, blocks of 16384"],
        "host, complex64": ["overspill, in one piece"],
    }
    assert all(len(times) == 2 for found in outcomes.values() for times in found["seconds"].values())
    sides = None, 16384, 8192, 6144, 4096
    assert ways == {
        *(("float64", side, True, True) for side in sides),
        ("float64", 16384, False, True),
        ("float64", 8192, False, False),
        *(("complex64", side, True, False) for side in sides),
    }
