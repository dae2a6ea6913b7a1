"""The structure workflow: a membrane's modes, those of matrices in files, and a check that sees what is wrong."""

from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from overspill.errors import ConvergenceError, UsageError, WorkflowError
from overspill.runs import params, workflow

LOADED = workflow.load(Path(__file__).parents[2] / "workflows" / "structure.py")


def solved(**settings: str) -> tuple[Any, dict[str, Any]]:
    values = params.parse(LOADED.Params, {"n": "5", "modes": "3"} | settings)
    with dask.config.set(scheduler="synchronous"):
        built = workflow.build(LOADED, values).arrays
        first = dict(zip(built, dask.compute(*built.values()), strict=True))
        outputs = workflow.solve(LOADED, values, {name: da.from_array(x) for name, x in first.items()})
        results = dict(zip(outputs.arrays, dask.compute(*outputs.arrays.values()), strict=True))
    return values, first | results


def checked(values: Any, results: dict[str, Any]) -> list[bool]:
    return [
        check.passed
        for check in workflow.check(LOADED, values, {name: da.from_array(x) for name, x in results.items()})
    ]


def written(tmp_path: Path, A: Any) -> Path:
    path = tmp_path / "a.mtx"
    scipy.io.mmwrite(path, scipy.sparse.coo_array(A))
    return path


@pytest.mark.parametrize("preconditioner", ["jacobi", "block_jacobi"])
def test_modes_of_a_membrane(preconditioner: str, capsys: pytest.CaptureFixture[str]) -> None:
    values, results = solved(preconditioner=preconditioner)
    assert results["eigenvalues"][0] == pytest.approx(8 * np.sin(np.pi / 12) ** 2)
    assert results["diagonal"].tolist() == [4.0] * 25
    assert checked(values, results) == [True, True, True]
    LOADED.present(values, {name: da.from_array(x) for name, x in results.items()}, Path())
    assert f"{np.sqrt(results['eigenvalues'][0]):.8g}" in capsys.readouterr().out


def test_modes_of_a_file(tmp_path: Path) -> None:
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((30, 30)))[0]
    A = Q @ (10.0 ** np.arange(30, dtype=float)[:, None] / 1e10 * Q.T)
    A = A[:10, :10] + A[:10, :10].T
    values, results = solved(matrix=str(written(tmp_path, (A + A.T) / 2 + np.eye(10))))
    assert abs(results["eigenvalues"] - np.linalg.eigvalsh((A + A.T) / 2 + np.eye(10))[:3]).max() < 1e-5 * abs(A).max()
    assert checked(values, results) == [True, True, True]


def test_what_is_wrong_is_seen() -> None:
    _, results = solved(modes="5")
    values = params.parse(LOADED.Params, {"n": "5", "modes": "3"})
    w, v = results["eigenvalues"], results["modes"]
    for places, right in (
        ([0, 1, 2], [True, True, True]),
        ([0, 0, 2], [True, False, False]),
        ([1, 2, 3], [True, True, False]),  # modes all right, but not the lowest
    ):
        assert checked(values, {"eigenvalues": w[places], "modes": v[:, places]}) == right
    assert checked(values, {"eigenvalues": w[:3] * 1.001, "modes": v[:, :3]}) == [False, True, False]
    assert checked(values, {"eigenvalues": w[:3], "modes": v[:, :3] * np.nan}) == [False, False, True]


def test_matrices_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match=r"shape \(2, 3\): a stiffness matrix is square"):
        solved(matrix=str(written(tmp_path, np.ones((2, 3)))))
    with pytest.raises(WorkflowError, match="modes=25 of a matrix of 25 rows"):
        solved(modes="25")
    A = np.diag(np.full(40, 2.0)) + 3 * np.eye(40, k=1) + 3 * np.eye(40, k=-1)
    with pytest.raises(ConvergenceError, match="A is not positive definite"):
        solved(matrix=str(written(tmp_path, A)), preconditioner="jacobi")


@pytest.mark.parametrize("settings", [{"n": "2"}, {"modes": "0"}, {"tol": "1"}, {"maxiter": "0"}, {"matrix": "gone"}])
def test_parameters_that_cannot_be_used(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        params.parse(LOADED.Params, settings)
