"""The image workflow: the same picture however it is cut, scikit-image's own, and a preview."""

import contextlib
import sys
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

from overspill.cluster import Cluster
from overspill.errors import UsageError, WorkflowError
from overspill.runs import ground, params, session, workflow
from runs.watched import Watched

pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

LOADED = workflow.load(Path(__file__).parents[2] / "workflows" / "image.py")

NAMES = LOADED.build.__globals__

SMALL = {"height": "260", "width": "300", "chunk": "100"}


def read(**settings: str) -> Any:
    return params.parse(LOADED.Params, SMALL | settings)


def developed(values: Any) -> np.ndarray:
    image = workflow.build(LOADED, values).arrays["image"].compute()
    assert isinstance(image, np.ndarray)
    assert image.dtype == np.uint8
    return image


def test_the_mosaic_repeats() -> None:
    mosaic = NAMES["mosaic"]()
    assert mosaic.shape == (600, 896, 3)
    picture = NAMES["picture"](LOADED.Params(height=1300, width=1000, chunk=512)).compute()
    np.testing.assert_array_equal(picture, np.tile(mosaic, (3, 2, 1))[:1300, :1000])


def test_many_chunks_are_no_accident() -> None:
    """Dask warns of them, and warnings are errors here."""
    assert NAMES["picture"](LOADED.Params(height=1300, width=1300, chunk=64)).npartitions == 21 * 21


@pytest.mark.parametrize("settings", [{}, {"noise": "0", "amount": "2", "lift": "0"}, {"radius": "8", "lift": "5"}])
def test_the_whole_picture_is_scikit_image_s(settings: dict[str, str]) -> None:
    values = read(**settings)
    right = NAMES["reference"](NAMES["picture"](values).compute(), values)
    difference = np.abs(developed(values) - right)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 1e-3


def test_no_seams() -> None:
    one = developed(read(chunk="1000"))
    for chunk in ("64", "99", "256"):
        np.testing.assert_array_equal(developed(read(chunk=chunk)), one)


def test_the_picture_is_brighter_and_its_edges_are_steeper() -> None:
    values = read(noise="0")
    before, after = NAMES["picture"](values).compute().astype(float), developed(values).astype(float)
    assert after.mean() > before.mean() + 5
    assert np.abs(np.diff(after, axis=1)).mean() > 1.1 * np.abs(np.diff(before, axis=1)).mean()


def test_the_check_sees_a_seam() -> None:
    values = read()
    image = developed(values)
    check = workflow.check(LOADED, values, {"image": da.from_array(image)})[0]
    assert check.passed, check.summary
    image[100, :, 0] ^= 8
    assert not workflow.check(LOADED, values, {"image": da.from_array(image)})[0].passed


@pytest.mark.parametrize("size", ["64", "700"])
def test_a_run_leaves_a_preview(
    size: str, tmp_path: Path, two_workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "started", lambda *arguments: contextlib.nullcontext(two_workers))
    job = session.Job(LOADED, read(height=size, chunk="200"), None)
    report = session.start(job, tmp_path / "run", Watched())
    assert report.passed
    assert report.files == (tmp_path / "run" / "preview.png",)
    assert report.files[0].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"height": "63"}, "height=63 is too small for the filters: take 64 pixels or more"),
        ({"chunk": "0"}, "chunk=0 is too small"),
        ({"radius": "9"}, "noise=0.7 and radius=9 must be in order"),
        ({"noise": "3"}, "noise=3 and radius=2 must be in order"),
        ({"amount": "-1"}, "amount=-1 and lift=0.8 must be 0 or more"),
        ({"lift": "inf"}, "amount=0.5 and lift=inf must be 0 or more"),
        ({"height": "1000000", "width": "1000000"}, "chunk=100 cuts the picture .* 50,000 chunks: take 4473 or more"),
    ],
)
def test_unusable_parameters(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(**settings)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(WorkflowError, match=r"skimage, which is not installed: pip install '\.\[examples\]'"):
        workflow.load(LOADED.path)
