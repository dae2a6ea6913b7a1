"""How solvers end where they cannot converge: named in one sentence, and never as convergence."""

from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

import overspill as osp
from linalg.solvers import SOLVERS, SYSTEMS, beside, poisson
from overspill.linalg.outcome import Ending, Outcome
from overspill.sparse import CSRMatrix


@pytest.mark.parametrize("name", SOLVERS)
def test_at_maxiter_info_counts_and_nothing_is_said(name: str) -> None:
    system = SYSTEMS["spd"]
    kind = {"restart": 4} if name == "gmres" else {}
    x, info = SOLVERS[name].solve(system.A, system.b, maxiter=1, **kind)
    assert info == (4 if name == "gmres" else 1)
    assert np.isfinite(x).all()
    x0 = np.ones_like(system.b)
    x, info = SOLVERS[name].solve(system.A, system.b, x0, maxiter=0)
    assert info > 0
    np.testing.assert_array_equal(x, x0)


def test_a_residual_that_rose_until_maxiter_has_not_stagnated() -> None:
    A = poisson(60)
    _, info = osp.linalg.cg(A, np.ones(A.shape[0]), maxiter=2)
    assert info == 2


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entries_that_are_not_finite(name: str, bad: float) -> None:
    system = SYSTEMS["spd"]
    A = system.A.copy()
    A.data[7] = bad
    with pytest.warns(osp.ConvergenceWarning, match="NaN or infinity"):
        _, info = SOLVERS[name].solve(A, system.b)
    assert info < 0


@pytest.mark.parametrize("name", SOLVERS)
def test_a_preconditioner_that_is_not_finite(name: str) -> None:
    system = SYSTEMS["spd"]
    M = osp.linalg.LinearOperator(system.A.shape, lambda r: r * np.nan)
    with pytest.warns(osp.ConvergenceWarning, match="NaN or infinity"):
        _, info = SOLVERS[name].solve(system.A, system.b, M=M)
    assert info < 0


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_vectors_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    system = SYSTEMS["spd"]
    b = system.b.copy()
    b[3] = bad
    for arguments, what in (((b,), "b"), ((system.b, b), "x0"), ((da.from_array(b),), "b")):
        with pytest.raises(osp.ArrayError, match=rf"^{what} holds NaN or infinity"):
            SOLVERS[name].solve(system.A, *arguments)


@pytest.mark.parametrize("lazy", [False, True])
def test_cg_names_an_indefinite_matrix(lazy: bool) -> None:
    system = SYSTEMS["indefinite"]
    A = CSRMatrix.from_scipy(system.A, blocks=2) if lazy else system.A
    with pytest.warns(osp.ConvergenceWarning, match=r"^cg: A is not Hermitian positive definite.* use minres"):
        _, info = osp.linalg.cg(A, system.b, rtol=1e-8)
    assert info == -12


def test_cg_with_rounding_is_not_taken_for_indefinite() -> None:
    A = np.diag(np.logspace(-13, 0, 60))
    b = np.random.default_rng(0).standard_normal(60)
    _, info = osp.linalg.cg(A, b, rtol=1e-3, maxiter=400)
    assert info >= 0


@pytest.mark.parametrize("name", ["cg", "minres"])
def test_an_indefinite_preconditioner_is_named(name: str) -> None:
    system = SYSTEMS["spd"]
    with pytest.warns(osp.ConvergenceWarning, match="M is not Hermitian positive definite"):
        _, info = SOLVERS[name].solve(system.A, system.b, M=-sp.eye_array(len(system.b)))
    assert info == -13


def test_bicgstab_names_its_breakdown() -> None:
    skew = np.array([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.warns(osp.ConvergenceWarning, match=r"breakdown.*use gmres"):
        _, info = osp.linalg.bicgstab(skew, np.array([1.0, 2.0]))
    assert info == -11
    x, info = osp.linalg.gmres(skew, np.array([1.0, 2.0]))
    assert info == 0
    np.testing.assert_allclose(x, [-2, 1])


def test_gmres_names_cycles_that_do_nothing() -> None:
    shift = np.roll(np.eye(6), 1, axis=0)
    with pytest.warns(osp.ConvergenceWarning, match="no longer falls"):
        _, info = osp.linalg.gmres(shift, np.eye(6)[0], restart=5)
    assert info == 5
    assert osp.linalg.gmres(shift, np.eye(6)[0], restart=6)[1] == 0


@pytest.mark.parametrize("name", SOLVERS)
def test_a_system_without_solution(name: str) -> None:
    A = beside(16, -1.0, 2.0, -1.0).tolil()
    A[0, -1] = A[-1, 0] = -1.0
    b = np.ones(16) + np.cos(2 * np.pi * np.arange(16) / 16)
    with pytest.warns(osp.ConvergenceWarning):
        _, info = SOLVERS[name].solve(A.tocsr(), b)
    assert info != 0


def test_minres_finds_the_least_squares_solution() -> None:
    A = np.diag([3.0, -2.0, 1.0, 0.0])
    with pytest.warns(osp.ConvergenceWarning, match=r"^minres: b is not in the range of A, and x is a least-squares"):
        x, info = osp.linalg.minres(A, np.array([3.0, 2.0, 1.0, 5.0]))
    assert info > 0
    np.testing.assert_allclose(x[:3], [1, -1, 1])


@pytest.mark.parametrize("name", ["cg", "minres", "bicgstab"])
def test_what_precision_cannot_give_is_not_reported(name: str) -> None:
    system = SYSTEMS["spd of single precision"]
    with pytest.warns(osp.ConvergenceWarning, match="no longer falls"):
        x, info = SOLVERS[name].solve(system.A, system.b, rtol=1e-12)
    assert info > 0
    assert np.linalg.norm(system.b - system.A @ x) <= 1e-5 * np.linalg.norm(system.b)


def test_what_is_said_has_the_numbers() -> None:
    outcome = Outcome(Ending.STAGNATED, 7, 0.5, 0.25)
    assert "no longer falls: after 7 iterations the residual is 0.5, where 0.25 was asked for" in str(outcome)
    assert outcome.info == 7
    assert Outcome(Ending.MAXITER, 0, 1.0, 0.5).info == 1


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "what"),
    [
        ((np.ones((2, 3)), np.ones(2)), {}, osp.ArrayError, "not square"),
        ((np.eye(3), np.ones(2)), {}, osp.ArrayError, r"b has shape \(2,\), but A has 3 rows"),
        ((np.eye(3), np.ones((3, 2))), {}, osp.ArrayError, r"b has shape \(3, 2\)"),
        ((np.eye(3), np.ones(3), np.ones(4)), {}, osp.ArrayError, r"x0 has shape \(4,\)"),
        ((np.eye(3), np.ones(3)), {"M": np.eye(2)}, osp.ArrayError, "preconditioner"),
        ((np.eye(3), np.array(["a"] * 3)), {}, osp.DTypeError, "numeric"),
        ((np.eye(3), np.array([1, 2, None])), {}, osp.DTypeError, "object"),
        ((np.eye(3, dtype=object), np.ones(3)), {}, osp.DTypeError, "object"),
        ((np.eye(3), [1, [2], 3]), {}, osp.ArrayError, "no array"),
        ((np.ones(3), np.ones(3)), {}, osp.ArrayError, r"ndarray of shape \(3,\)"),
        ((3.0, np.ones(3)), {}, osp.ArrayError, "no matrix but a float"),
        ((np.eye(3), np.ones(3), "b"), {}, osp.UsageError, "Mb"),
        ((np.eye(3), np.ones(3)), {"rtol": -1}, osp.UsageError, "rtol=-1"),
        ((np.eye(3), np.ones(3)), {"atol": np.nan}, osp.UsageError, "atol=nan"),
        ((np.eye(3), np.ones(3)), {"maxiter": -2}, osp.UsageError, "maxiter=-2"),
    ],
)
def test_bad_arguments(arguments: Any, keywords: Any, error: type[Exception], what: str) -> None:
    for solver in SOLVERS.values():
        with pytest.raises(error, match=what):
            solver.solve(*arguments, **keywords)


def test_gmres_refuses_what_only_it_takes() -> None:
    with pytest.raises(osp.UsageError, match="callback_type='y'"):
        osp.linalg.gmres(np.eye(2), np.ones(2), callback_type="y")
    with pytest.raises(osp.UsageError, match="restart=0"):
        osp.linalg.gmres(np.eye(2), np.ones(2), restart=0)


def test_chunks_of_unknown_size_are_refused() -> None:
    x = da.ones(6, chunks=3)
    with pytest.raises(osp.ArrayError, match="nan"):
        osp.linalg.cg(np.eye(6), x[x > 0])


def test_an_operator_of_the_wrong_shape_is_named() -> None:
    A = osp.linalg.LinearOperator((3, 3), lambda x: x[:2])
    with pytest.raises(osp.ArrayError, match=r"makes shape \(2,\)"):
        osp.linalg.cg(A, np.ones(3))


def test_an_operator_over_dask_with_a_vector_in_memory_is_named() -> None:
    lazy = da.eye(4, chunks=2)
    A = osp.linalg.LinearOperator((4, 4), lambda x: lazy @ x)
    with pytest.raises(osp.ArrayError, match="pass b as what the operator makes"):
        osp.linalg.cg(A, np.ones(4))
