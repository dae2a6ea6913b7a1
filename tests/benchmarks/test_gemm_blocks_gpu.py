"""The benchmark of blocks of tiles, and of chunks multiplied where they lie, with small ones."""

import importlib
import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu


def test_contenders_differ_as_they_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from overspill.kernels import gemm_cuda
    from overspill.stream import upload_cuda

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    blocks = importlib.import_module("gemm_blocks_gpu")
    monkeypatch.setattr(blocks, "CHUNK", 256)
    monkeypatch.setattr(blocks, "FIRST_PANEL", 64)
    monkeypatch.setattr(blocks, "TILES", {"float64": (512, 768, 512), "float32": (256, 512, 256)})
    monkeypatch.setattr(gemm_cuda, "BLOCK_SIDE", {"float64": 8192})
    monkeypatch.setattr(upload_cuda, "LEAST_SIDES", {"float64": 200})
    asked = ["gemm_blocks_gpu.py", "--types", "float64,float32", "--repeats", "2", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", asked)
    in_place, lie_well, sides = list[bool](), upload_cuda.lie_well, set[int | None]()
    gemm = gemm_cuda.gemm

    def noted_place(*arguments: object) -> bool:
        in_place.append(lie_well(*arguments))
        return in_place[-1]

    def noted_side(*arguments: object, **options: object) -> None:
        sides.add(gemm_cuda.BLOCK_SIDE.get("float64"))
        gemm(*arguments, **options)

    monkeypatch.setattr(upload_cuda, "lie_well", noted_place)
    monkeypatch.setattr(gemm_cuda, "gemm", noted_side)
    blocks.main()
    outcomes = json.loads((tmp_path / "gemm_blocks_gpu.json").read_text())["outcomes"]
    ours = {
        work: [name for name in found["seconds"] if name.startswith("overspill")] for work, found in outcomes.items()
    }
    assert ours == {
        "host, float64": ["overspill, blocks of 8192"],
        "device, float64": ["overspill"],
        "host, float32": ["overspill, in one piece"],
    }
    assert all(len(times) == 2 for found in outcomes.values() for times in found["seconds"].values())
    assert sides == {None, 16384, 8192, 6144, 4096}
    assert in_place == [True] * 2 * 2 * 3  # both operands of two panels, thrice, of one contender
