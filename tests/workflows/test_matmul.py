"""The matmul workflow: generated data that is the same each time, and a check that sees what is wrong."""

import math
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

import overspill as osp
from cases import resources
from overspill.errors import UsageError
from overspill.planning.resources import using
from overspill.runs import params, workflow
from overspill.runs.workflow import Workflow

PATH = Path(__file__).parents[2] / "workflows" / "matmul.py"


@pytest.fixture(scope="module")
def matmul() -> Workflow:
    return workflow.load(PATH)


def built(matmul: Workflow, **settings: str) -> tuple[Any, da.Array]:
    values = params.parse(matmul.Params, settings)
    return values, workflow.build(matmul, values).arrays["C"]


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "complex64", "complex128", "int8", "int64", "uint16"]
)
def test_right_and_wrong(matmul: Workflow, dtype: str) -> None:
    values, c = built(matmul, n="150", dtype=dtype)
    stored = c.compute()
    assert stored.dtype == dtype
    (check,) = workflow.check(matmul, values, {"C": da.from_array(stored)})
    assert check.passed, check.summary
    stored[70, 80] += 1000 if stored.dtype.kind != "i" else 1
    (check,) = workflow.check(matmul, values, {"C": da.from_array(stored)})
    assert not check.passed


def test_same_seed_same_data(matmul: Workflow) -> None:
    names = [built(matmul, n="100", seed=seed)[1].name for seed in ("1", "1", "2")]
    assert names[0] == names[1] != names[2]


def test_operands_differ_and_are_numpy(matmul: Workflow) -> None:
    operands = matmul.build.__globals__["operands"](matmul.Params(n=50))
    a, b = (x.compute() for x in operands)
    assert type(operands[0]._meta) is np.ndarray
    assert not np.array_equal(a, b)


def test_chunks_follow_the_budget(matmul: Workflow) -> None:
    a, _ = matmul.build.__globals__["operands"](params.parse(matmul.Params, {"n": "8192", "memory": "48MiB"}))
    assert math.prod(a.chunksize) * 8 <= 48 * 2**20 / 32
    a, _ = matmul.build.__globals__["operands"](matmul.Params(n=8192))
    assert a.chunksize == (2048, 2048)


@pytest.mark.parametrize("dtype", ["float64", "complex128", "int8"])
def test_large_matrices_have_few_chunks(matmul: Workflow, dtype: str) -> None:
    chunk_side = matmul.build.__globals__["chunk_side"]
    assert chunk_side(matmul.Params(n=1_000_000, dtype=dtype), np.dtype(dtype)) == 10_000
    settings = {"n": "1000000", "dtype": dtype, "memory": "48MiB"}
    with pytest.raises(osp.MemoryBudgetError, match=r"tile budget 48 MiB .* n=1000000 .* raise memory=") as refused:
        workflow.build(matmul, params.parse(matmul.Params, settings))
    enough = str(refused.value).split("memory= to ")[1].split()[0]
    assert chunk_side(params.parse(matmul.Params, settings | {"memory": enough}), np.dtype(dtype)) >= 5_000


def test_operands_are_streamed_under_a_small_budget(matmul: Workflow) -> None:
    for dtype in ("float64", "float32", "complex64", "int32"):
        with using(resources(workers=2)):
            _, c = built(matmul, n="2000", memory="24MiB", dtype=dtype)
        assert osp.plan(c).products[0].recomputed_nbytes > 0


def test_nothing_of_nothing(matmul: Workflow) -> None:
    values, c = built(matmul, n="0")
    assert c.compute().shape == (0, 0)
    assert all(check.passed for check in workflow.check(matmul, values, {"C": c}))


@pytest.mark.parametrize("settings", [{"n": "-1"}, {"seed": "-1"}, {"dtype": "object"}, {"residence": "moon"}])
def test_unusable_parameters(matmul: Workflow, settings: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        params.parse(matmul.Params, settings)
