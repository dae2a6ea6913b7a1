"""The matrices of the sparse benchmark, made by NumPy; on a GPU the benchmark itself, small."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from cases import environment

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

NAMES = (
    *("banded 16", "Poisson 7", "Poisson 27", "random 16", "power law", "one dense row", "rows of 1-3"),
    "90% empty rows",
)


@pytest.fixture
def matrices(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("sparse_matrices")


def test_all_matrices_are_tested(matrices: ModuleType) -> None:
    assert tuple(matrices.MATRICES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_matrices_are_canonical_and_about_as_large_as_asked_for(name: str, matrices: ModuleType) -> None:
    indptr, indices, shape = matrices.MATRICES[name](np, 100_000)
    assert indptr.dtype == indices.dtype == np.int32
    A = scipy.sparse.csr_array((np.ones(len(indices)), indices, indptr), shape)
    A.check_format(full_check=True)
    assert A.has_canonical_format
    assert 40_000 <= A.nnz <= 120_000


def test_rows_are_as_their_names_say(matrices: ModuleType) -> None:
    lengths = {name: np.diff(make(np, 100_000)[0]) for name, make in matrices.MATRICES.items()}
    assert set(lengths["banded 16"]) == set(lengths["random 16"]) == {16}
    assert set(lengths["Poisson 7"]) == {4, 5, 6, 7}
    assert set(lengths["Poisson 27"]) == {8, 12, 18, 27}
    assert set(lengths["rows of 1-3"]) == {1, 2, 3}
    assert np.mean(lengths["90% empty rows"] == 0) == 0.9
    assert lengths["one dense row"].max() == len(lengths["one dense row"])
    assert lengths["power law"].max() > 50 * lengths["power law"].mean()


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_itself(tmp_path: Path) -> None:
    program = [sys.executable, str(BENCHMARKS / "sparse_gpu.py"), *["--nnz", "1000000", "--sweep", "--results"]]
    done = subprocess.run([*program, str(tmp_path)], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((tmp_path / "sparse_gpu.json").read_text())
    results = [result["matvec"] for types in found["matrices"].values() for result in types.values()]
    assert not [one for result in results for one in result.values() if "failed" in one]
