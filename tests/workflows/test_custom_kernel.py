"""The workflow with a kernel of one's own: its check passes, and sees what is wrong."""

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

from overspill.errors import UsageError
from overspill.runs import params, workflow

LOADED = workflow.load(Path(__file__).parents[2] / "workflows" / "custom_kernel.py")


def computed(**settings: str) -> tuple[Any, dict[str, Any]]:
    values = params.parse(LOADED.Params, {"n": "3000"} | settings)
    arrays = workflow.build(LOADED, values).arrays
    with dask.config.set(scheduler="synchronous"):
        return values, dict(zip(arrays, dask.compute(*arrays.values()), strict=True))


def checked(values: Any, results: dict[str, Any]) -> list[bool]:
    with dask.config.set(scheduler="synchronous"):
        lazy = {name: da.from_array(result) for name, result in results.items()}
        return [check.passed for check in workflow.check(LOADED, values, lazy)]


@pytest.mark.parametrize("settings", [{}, {"dtype": "complex64"}, {"nnz_per_row": "0"}])
def test_products_agree(settings: dict[str, str]) -> None:
    assert checked(*computed(**settings)) == [True, True]


def test_what_is_wrong_is_seen() -> None:
    values, results = computed()
    bent = results["custom"].copy()
    bent[7] += 1e-9
    assert checked(values, results | {"custom": bent}) == [False, False]
    assert checked(values, results | {"ours": np.flip(results["ours"])}) == [False, True]


@pytest.mark.parametrize("settings", [{"nnz_per_row": "3001"}, {"nnz_per_row": "-1"}, {"seed": "-1"}])
def test_parameters_are_checked(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        computed(**settings)
