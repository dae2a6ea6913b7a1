"""The Poisson workflow: its error is that of the stencil, and its check sees what is wrong."""

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

from overspill.errors import UsageError
from overspill.runs import params, workflow

LOADED = workflow.load(Path(__file__).parents[2] / "workflows" / "poisson.py")


def solved(**settings: str) -> tuple[Any, dict[str, Any]]:
    values = params.parse(LOADED.Params, {"n": "9"} | settings)
    with dask.config.set(scheduler="synchronous"):
        (b,) = dask.compute(*workflow.build(LOADED, values).arrays.values())
        outputs = workflow.solve(LOADED, values, {"b": da.from_array(b)})
        results = dict(zip(outputs.arrays, dask.compute(*outputs.arrays.values()), strict=True))
    return values, {"b": b, **results}


def checked(values: Any, results: dict[str, Any]) -> list[bool]:
    lazy = results | {name: da.from_array(results[name]) for name in ("b", "u")}
    with dask.config.set(scheduler="synchronous"):
        return [check.passed for check in workflow.check(LOADED, values, lazy)]


@pytest.mark.parametrize("preconditioner", ["none", "jacobi", "chebyshev"])
def test_the_error_is_that_of_the_stencil(preconditioner: str) -> None:
    values, results = solved(preconditioner=preconditioner)
    assert results["info"] == 0
    x = np.arange(1, 10) / 10
    g = x * (1 - x) * np.exp(x)
    u = g[:, None, None] * g[:, None] * g
    assert 1e-6 < abs(results["u"] - u.reshape(-1)).max() < 0.1 * 0.1**2
    assert checked(values, results) == [True, True]


def test_what_is_wrong_is_seen() -> None:
    values, results = solved()
    bent = results["u"].copy()
    bent[100] += 0.01
    assert checked(values, results | {"u": bent}) == [False, False]
    assert checked(values, results | {"u": results["u"] * (1 + 1e-6)}) == [False, True]


@pytest.mark.filterwarnings("ignore:.*cg")
def test_a_solver_that_gives_up_is_told_of() -> None:
    values, results = solved(maxiter="2", preconditioner="none")
    assert results["info"] > 0
    lazy = results | {name: da.from_array(results[name]) for name in ("b", "u")}
    first, _ = workflow.check(LOADED, values, lazy)
    assert not first.passed
    assert f"the solver gave up (info={results['info']})" in first.summary


@pytest.mark.parametrize(("name", "value"), [("n", "1"), ("rtol", "0"), ("rtol", "nan"), ("maxiter", "0")])
def test_parameters_that_cannot_be_used(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        params.parse(LOADED.Params, {name: value})
