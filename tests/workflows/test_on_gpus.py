"""The elementwise workflows on GPUs: their checks pass, and the work was done there."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import overspill as osp
from overspill.cluster import Cluster
from overspill.runs import ground, params, session, workflow
from runs.watched import Watched
from workflows.test_wind import OFFSET, SCALE, packed_winds, written

WORKFLOWS = Path(__file__).parents[2] / "workflows"


@pytest.fixture(
    scope="module",
    params=[pytest.param("0", marks=pytest.mark.gpu), pytest.param("0,1", marks=pytest.mark.multi_gpu)],
)
def gpu_workers(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with osp.cluster(
        gpu=True, CUDA_VISIBLE_DEVICES=request.param, memory="2GiB", device_memory=2**30, dashboard_address=None
    ) as started:
        yield started


@pytest.mark.parametrize(
    ("name", "settings", "uploaded_nbytes"),
    [
        ("transform", {"size": "64MB", "chunk": "8MB"}, 64_000_000),
        ("image", {"height": "1000", "width": "1100", "chunk": "400"}, 1000 * 1100 * 3),
        ("wind", {"tile": "40"}, 2 * 40 * 2 * 3 * 7 * 12 * 2),
    ],
)
def test_a_run(
    name: str,
    settings: dict[str, str],
    uploaded_nbytes: int,
    gpu_workers: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ground, "started", lambda *arguments: contextlib.nullcontext(gpu_workers))
    loaded = workflow.load(WORKFLOWS / f"{name}.py")
    if name == "wind":
        source = written(tmp_path / "small.nc", packed_winds(), scale_factor=SCALE, add_offset=OFFSET)
        settings = settings | {"source": str(source)}
    run = tmp_path / "run"
    report = session.start(session.Job(loaded, params.parse(loaded.Params, settings), None), run, Watched())
    assert report.passed, report.checks
    # The picture's chunks bring some of their neighbours with them.
    assert uploaded_nbytes <= json.loads((run / "ledger.json").read_text())["uploaded_nbytes"] <= 1.3 * uploaded_nbytes
