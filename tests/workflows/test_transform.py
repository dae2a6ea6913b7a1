"""The transform workflow: what it computes is NumPy's, and its check sees what is wrong."""

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

from overspill.errors import UsageError
from overspill.runs import params, workflow

LOADED = workflow.load(Path(__file__).parents[2] / "workflows" / "transform.py")

SMALL = {"size": "1MB", "chunk": "64KiB"}


def computed(**settings: str) -> tuple[Any, dict[str, Any]]:
    values = params.parse(LOADED.Params, SMALL | settings)
    outputs = workflow.build(LOADED, values)
    return values, dict(zip(outputs.arrays, dask.compute(*outputs.arrays.values()), strict=True))


def checked(values: Any, results: dict[str, Any]) -> list[bool]:
    lazy = results | {"y": da.from_array(results["y"])}
    return [check.passed for check in workflow.check(LOADED, values, lazy)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_agrees_with_numpy(dtype: str) -> None:
    values, results = computed(dtype=dtype)
    x = LOADED.build.__globals__["numbers"](values).compute().astype(np.float64)
    assert x.size == 10**6 // np.dtype(dtype).itemsize
    assert -10 <= x.min() < -9.9
    assert 9.9 < x.max() <= 10
    y, eps = np.sin(x) ** 2 + x * np.cos(x), float(np.finfo(dtype).eps)
    assert results["y"].dtype == dtype
    np.testing.assert_allclose(results["y"], y, rtol=0, atol=20 * eps)
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(results[name], getattr(y, name)(), rtol=0, atol=100 * eps)
    assert checked(values, results) == [True, True, True]


def test_what_is_wrong_is_seen() -> None:
    values, results = computed()
    wrong = results["y"].copy()
    wrong[-1] += 0.01
    for change, verdict in (
        ({"y": wrong}, [False, True, True]),
        ({"min": results["min"] + 1}, [False, True, True]),
        ({"max": results["max"] - 1}, [False, True, True]),
        ({"mean": results["mean"] + 0.1}, [True, False, True]),
        ({"std": results["std"] * 1.05}, [True, True, False]),
    ):
        assert checked(values, results | change) == verdict


def test_same_seed_same_data() -> None:
    names = [workflow.build(LOADED, LOADED.Params(seed=seed)).arrays["y"].name for seed in (1, 1, 2)]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": "3"}, "size=3 holds no float32 number: take 4 bytes or more"),
        ({"chunk": "3"}, "chunk=3 holds no float32 number"),
        ({"size": "1TiB", "chunk": "1MiB"}, "more than 100,000 chunks: raise chunk to 11MiB"),
        ({"seed": "-1"}, "seed=-1 is negative"),
    ],
)
def test_unusable_parameters(settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        params.parse(LOADED.Params, settings)
