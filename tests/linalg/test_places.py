"""Where solvers run: resident on two workers where they can, over graphs where not; a real matrix; what they say."""

import itertools
import logging
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import overspill as osp
from linalg.solvers import PAIRS, SOLVERS, SYSTEMS, residual
from overspill.cluster import Cluster
from overspill.linalg import progress, spreading
from overspill.linalg.graphs import Graphs
from overspill.sparse import CSRMatrix

DATA = Path(__file__).parents[3] / "shared" / "data"

RESIDENT = ("a first guess", "complex and hermitian")


@pytest.fixture
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *vectors: Any) -> Any:
        raise AssertionError("it runs over graphs")

    monkeypatch.setattr(Graphs, "keep", refuse)


@pytest.fixture(scope="module")
def matrices(two_workers: Cluster) -> dict[str, CSRMatrix]:
    """The systems' matrices on the workers."""
    return {name: CSRMatrix.from_scipy(SYSTEMS[name].A, blocks=3) for name in RESIDENT}


@pytest.mark.usefixtures("no_graphs")
@pytest.mark.parametrize(("name", "what"), [pair for pair in PAIRS if pair[1] in RESIDENT])
def test_resident(name: str, what: str, matrices: dict[str, CSRMatrix]) -> None:
    system = SYSTEMS[what]
    x, info = SOLVERS[name].solve(matrices[what], system.b, system.x0, rtol=1e-8)
    assert info == 0
    assert type(x) is np.ndarray
    assert residual(system, x) <= 1.01e-8


@pytest.mark.usefixtures("two_workers", "no_graphs")
def test_endings_are_the_same_on_workers() -> None:
    system = SYSTEMS["indefinite"]
    A = CSRMatrix.from_scipy(system.A, blocks=3)
    with pytest.warns(osp.ConvergenceWarning, match="A is not Hermitian positive definite"):
        assert osp.linalg.cg(A, system.b, rtol=1e-8)[1] == -12
    assert osp.linalg.gmres(A, system.b, restart=4, maxiter=2)[1] == 8
    with pytest.raises(osp.ArrayError, match="b holds NaN"):
        osp.linalg.cg(A, system.b * np.nan)


def test_with_a_callback_it_stays_in_reach(two_workers: Cluster) -> None:
    system = SYSTEMS["spd"]
    A = CSRMatrix.from_scipy(system.A, blocks=2)
    seen: list[da.Array] = []
    x, info = osp.linalg.cg(A, da.from_array(system.b, chunks=30), maxiter=12, callback=seen.append)
    assert (len(seen), info) == (12, 12)
    np.testing.assert_array_equal(seen[-1].compute(), x.compute())
    del seen

    def vectors() -> int:
        held = set(itertools.chain.from_iterable(two_workers.client.has_what().values()))
        return sum("update" in str(key) for key in held)

    # All that twelve iterations have kept is let go of, but for the solution.
    deadline = time.monotonic() + 30
    while vectors() > x.npartitions:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("resident", [False, True])
def test_a_stiffness_matrix(resident: bool, request: pytest.FixtureRequest) -> None:
    if not (DATA / "bcsstk13.mtx").exists():
        pytest.skip("no bcsstk13.mtx beside the repository")
    A = sp.csr_array(scipy.io.mmread(DATA / "bcsstk13.mtx", spmatrix=False))
    b = A @ np.ones(A.shape[0])
    given: Any = A
    if resident:
        request.getfixturevalue("two_workers")
        given = CSRMatrix.from_scipy(A, blocks=2)
    x, info = osp.linalg.cg(given, b, rtol=1e-8, M=osp.linalg.block_jacobi(given, 64))
    assert info == 0
    assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b)
    assert np.abs(x - 1).max() <= 0.02  # the condition number is some 1e10


def test_what_is_said_of_progress(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.5, 2.0, 2.0, 2.1])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    events: list[Any] = []

    class Told:
        def log_event(self, topic: str, event: dict[str, Any]) -> None:
            events.append((topic, event))

    report = progress.Report("cg", client=Told())  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "overspill.linalg"):
        report(1, 8.0)
        report(4, 1.0)
        report(5, 0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "cg: iteration 4, residual 1, 1.5 iterations/s, residual × 0.5 an iteration"
    ]
    assert [topic for topic, _ in events] == [progress.TOPIC]
    assert events[0][1]["iteration"] == 4


def test_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "overspill.linalg"):
        osp.linalg.cg(np.eye(2), np.ones(2))
    assert "cg: the residual is within the tolerance" in caplog.text


def test_a_cluster_counts_only_where_dask_computes_on_it() -> None:
    import dask

    with dask.config.set(scheduler="threads"):
        assert spreading.client() is None


@pytest.mark.usefixtures("two_workers")
def test_large_vectors_do_not_travel_in_graphs() -> None:
    n = 1_600_000  # Dask warns of graphs of more than ten million bytes, and warnings are errors
    A = osp.linalg.LinearOperator((n, n), lambda x: 2 * x)
    x, info = osp.linalg.cg(A, da.ones(n, chunks=n // 2), np.zeros(n), maxiter=3)
    assert info == 0
    assert float(x.max().compute()) == 0.5
