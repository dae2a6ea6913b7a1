"""Solvers of linear systems: each solves what it should, in memory and over graphs, as SciPy's do."""

from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse.linalg

import overspill as osp
from linalg.solvers import DIFFERENT, PAIRS, SOLVERS, SYSTEMS, poisson, residual, rtol_for
from overspill.linalg import place
from overspill.sparse import CSRMatrix


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize(("name", "what"), PAIRS)
def test_in_memory(name: str, what: str) -> None:
    system = SYSTEMS[what]
    x, info = SOLVERS[name].solve(system.A, system.b, system.x0, rtol=rtol_for(system))
    assert info == 0
    assert type(x) is np.ndarray
    assert x.dtype == np.result_type(system.A, system.b)
    assert residual(system, x) <= 1.01 * rtol_for(system)


@pytest.mark.parametrize(("name", "what"), [pair for pair in PAIRS if pair[1] in DIFFERENT])
def test_over_graphs_it_takes_the_same_steps(name: str, what: str) -> None:
    system = SYSTEMS[what]
    expected: list[Any] = []
    kind = {"callback_type": "x"} if name == "gmres" else {}
    rtol = 1e-3
    x, _ = SOLVERS[name].solve(
        system.A, system.b, system.x0, rtol=rtol, callback=lambda x: expected.append(x.copy()), **kind
    )
    A = CSRMatrix.from_scipy(system.A, blocks=min(3, len(system.b)))
    count: list[Any] = []
    y, info = SOLVERS[name].solve(A, system.b, system.x0, rtol=rtol, callback=count.append, **kind)
    assert info == 0
    assert type(y) is np.ndarray
    assert residual(system, y) <= 1.01 * rtol
    assert len(count) == len(expected)
    np.testing.assert_allclose(y, x, rtol=0, atol=(1e-3 if y.dtype.char in "fF" else 1e-9) * max(np.abs(x).max(), 1))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("M", [None, "jacobi"])
def test_it_takes_as_many_steps_as_scipy(name: str, M: str | None) -> None:
    system = SYSTEMS["badly scaled" if M else "spd"]
    precondition = None if M is None else osp.linalg.jacobi(system.A)
    counts = []
    for solve in (SOLVERS[name].solve, SOLVERS[name].scipy):
        count: list[Any] = []
        # SciPy's minres compares with a larger norm.
        rtol = 1e-8 if name != "minres" or solve is SOLVERS[name].solve else 1e-10
        kind = {"callback_type": "pr_norm"} if name == "gmres" else {}
        _, info = solve(system.A, system.b, rtol=rtol, M=precondition, callback=count.append, **kind)
        assert info == 0
        counts.append(len(count))
    assert counts[0] <= 1.3 * counts[1] + 3


@pytest.mark.parametrize("name", SOLVERS)
def test_dask_arrays_give_dask_arrays(name: str) -> None:
    system = SYSTEMS["spd"]
    b = da.from_array(system.b, chunks=25)
    A = da.from_array(system.A.toarray(), chunks=(20, 30))
    x, info = SOLVERS[name].solve(A, b, rtol=1e-2)
    assert info == 0
    assert isinstance(x, da.Array)
    assert x.chunks == (A.chunks[0],)
    assert residual(system, x.compute()) <= 1.01e-2


def test_a_dask_solution_is_held_and_holds_nothing_else() -> None:
    system = SYSTEMS["spd"]
    x, _ = osp.linalg.cg(CSRMatrix.from_scipy(system.A, blocks=2), da.from_array(system.b, chunks=30))
    assert len(x.dask) == x.npartitions


def test_every_kind_of_matrix() -> None:
    system = SYSTEMS["spd"]
    lazy = CSRMatrix.from_scipy(system.A, blocks=2)
    b = da.from_array(system.b, chunks=32)
    kinds: list[tuple[Any, Any]] = [
        (system.A.toarray(), system.b),
        (system.A.tocoo(), list(system.b)),
        (scipy.sparse.linalg.aslinearoperator(system.A), system.b[:, None]),
        (osp.linalg.LinearOperator(system.A.shape, lambda x: system.A @ x), system.b),
        (osp.linalg.LinearOperator(lazy.shape, lambda x: lazy @ x), b.rechunk(40)),
        (lazy.T, system.b),
        (system.A, b),
        (system.A.toarray(), b),
        (osp.linalg.LinearOperator(system.A.shape, lambda x: system.A @ x, dtype=np.complex64), system.b.astype("f4")),
    ]
    for A, right in kinds:
        x, info = osp.linalg.cg(A, right, rtol=1e-2)
        assert info == 0
        assert residual(system, np.asarray(x)) <= 1.01e-2


def test_integers_are_taken_as_double_precision() -> None:
    x, info = osp.linalg.cg(np.array([[2, 1], [1, 2]]), [3, 3], rtol=1e-12)
    assert info == 0
    np.testing.assert_allclose(x, [1.0, 1.0])


def test_a_guess_by_the_preconditioner() -> None:
    A = np.diag([2.0, 4.0])
    steps: list[Any] = []
    x, info = osp.linalg.cg(A, np.ones(2), "Mb", M=osp.linalg.jacobi(A), callback=steps.append)
    assert (info, steps) == (0, [])
    np.testing.assert_allclose(x, [0.5, 0.25])


def test_arguments_stay_as_they_are() -> None:
    system = SYSTEMS["a first guess"]
    assert system.x0 is not None
    b, x0 = system.b.copy(), system.x0.copy()
    for solver in SOLVERS.values():
        solver.solve(system.A, b, x0)
        np.testing.assert_array_equal(b, system.b)
        np.testing.assert_array_equal(x0, system.x0)


@pytest.mark.parametrize("name", SOLVERS)
def test_an_operator_that_does_nothing(name: str) -> None:
    identity = osp.linalg.LinearOperator((3, 3), lambda x: x)
    x, info = SOLVERS[name].solve(identity, np.array([1.0, 2, 3]), M=identity)
    assert info == 0
    np.testing.assert_allclose(x, [1, 2, 3])


def test_gmres_restarts_and_counts_as_scipy() -> None:
    system = SYSTEMS["nonsymmetric"]
    for kind, maxiter, steps in (("pr_norm", 3, 15), ("legacy", 7, 7), ("x", 3, 3)):
        counts = []
        for solve in (osp.linalg.gmres, scipy.sparse.linalg.gmres):
            seen: list[Any] = []
            _, info = solve(
                system.A,
                system.b,
                rtol=1e-12,
                restart=5,
                maxiter=maxiter,
                callback=lambda value, seen=seen: seen.append(np.copy(value)),
                callback_type=kind,
            )
            assert info > 0
            counts.append(seen)
        assert len(counts[0]) == len(counts[1]) == steps
        np.testing.assert_allclose(counts[0], counts[1], rtol=1e-6)


def test_minres_shifts() -> None:
    system = SYSTEMS["spd"]
    x, info = osp.linalg.minres(system.A, system.b, shift=0.7, rtol=1e-10)
    assert info == 0
    np.testing.assert_allclose(system.A @ x - 0.7 * x, system.b, atol=1e-8)


def test_on_devices(xp: ModuleType) -> None:
    system = SYSTEMS["spd"]
    A = CSRMatrix.from_scipy(system.A, blocks=3)
    A = A if xp is np else A.to_device()
    b = xp.asarray(system.b)
    preconditioners = (osp.linalg.block_jacobi(A, 7), osp.linalg.jacobi(A), osp.linalg.chebyshev(A, 2, (0.1, 20)), None)
    for solver, M in zip(SOLVERS.values(), preconditioners, strict=True):
        x, info = solver.solve(A, b, rtol=1e-3, M=M)
        assert info == 0
        assert type(x) is xp.ndarray
        assert residual(system, x if xp is np else x.get()) <= 1.01e-3


def test_in_device_memory(xp: ModuleType) -> None:
    system = SYSTEMS["badly scaled"]
    A, b = xp.asarray(system.A.toarray()), xp.asarray(system.b)
    for name, solver in SOLVERS.items():
        for M in (None, osp.linalg.jacobi(A), osp.linalg.chebyshev(A, 3)):
            x, info = solver.solve(A, b, rtol=1e-5, M=M)
            assert info == 0, name
            assert type(x) is xp.ndarray
            assert residual(system, x if xp is np else x.get()) <= 1.01e-5


def test_an_iteration_is_one_persist_and_one_reduction(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SYSTEMS["spd"]
    calls: list[str] = []

    class Counting(place.Graphs):  # type: ignore[misc]
        def dots(self, *pairs: Any) -> Any:
            calls.append("dots")
            return super().dots(*pairs)

        def keep(self, *vectors: Any) -> Any:
            calls.append("keep")
            return super().keep(*vectors)

    monkeypatch.setattr(place, "Graphs", Counting)
    A = CSRMatrix.from_scipy(system.A, blocks=2)
    per_iteration = []
    for maxiter in (3, 13):
        calls.clear()
        osp.linalg.cg(A, system.b, maxiter=maxiter, rtol=0)
        per_iteration.append(len(calls))
    assert per_iteration[1] - per_iteration[0] == 2 * 10


def test_poisson_in_memory_does_not_take_more_than_scipy() -> None:
    import tracemalloc

    A = poisson(100)
    b = np.ones(A.shape[0])
    peaks = []
    for solve in (osp.linalg.cg, scipy.sparse.linalg.cg):
        solve(A, b, maxiter=2)
        tracemalloc.start()
        solve(A, b, maxiter=5)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] <= 1.02 * peaks[1]
