"""Operators and preconditioners: the kit's rules, in memory, over graphs and by parts, and what each inverts."""

import pickle
from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg

import overspill as osp
from linalg.operators import check_operator, here
from linalg.solvers import SYSTEMS, beside, poisson
from overspill.linalg.operators import as_operator
from overspill.sparse import CSRMatrix

PRECONDITIONERS = {
    "jacobi": osp.linalg.jacobi,
    "block_jacobi": lambda A: osp.linalg.block_jacobi(A, 5),
    "chebyshev": lambda A: osp.linalg.chebyshev(A, 3),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def matrices(system: str, xp: ModuleType) -> tuple[Any, Any]:
    A = SYSTEMS[system].A
    lazy = CSRMatrix.from_scipy(A, blocks=3)
    return A, (lazy if xp is np else lazy.to_device())


@pytest.mark.parametrize("system", ["spd", "spd of single precision", "nonsymmetric", "complex"])
def test_matrices(system: str, xp: ModuleType) -> None:
    _, A = matrices(system, xp)
    check_operator(A, xp)
    check_operator(A.T, xp)
    check_operator(A.H, xp)


def test_linear_operators() -> None:
    A = SYSTEMS["complex"].A
    check_operator(osp.linalg.LinearOperator(A.shape, A.dot, A.conj().T.dot, A.dtype))
    wide = sp.random_array((4, 7), density=0.5, rng=1).tocsr()
    check_operator(osp.linalg.LinearOperator(wide.shape, wide.dot, wide.T.dot, wide.dtype))
    lazy = CSRMatrix.from_scipy(A, blocks=2)
    over_dask = osp.linalg.LinearOperator(lazy.shape, lambda x: lazy @ x, lambda y: lazy.H @ y, lazy.dtype)
    x = da.from_array(SYSTEMS["complex"].b, chunks=30)
    np.testing.assert_allclose(here(over_dask @ x), A @ here(x))
    np.testing.assert_allclose(here(over_dask @ da.stack([x, 2 * x], axis=1))[:, 1], 2 * (A @ here(x)))
    np.testing.assert_allclose(here(over_dask.H @ x), A.conj().T @ here(x))


def test_a_linear_operator_says_what_it_lacks() -> None:
    A = osp.linalg.LinearOperator((2, 2), lambda x: x * 2)
    with pytest.raises(osp.ArrayError, match="give it rmatvec="):
        A.rmatvec(np.ones(2))
    with pytest.raises(osp.ArrayError, match="shape"):
        osp.linalg.LinearOperator((2,), lambda x: x)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PRECONDITIONERS)
@pytest.mark.parametrize("system", ["spd", "spd of single precision", "complex and hermitian"])
def test_preconditioners(name: str, system: str, xp: ModuleType) -> None:
    A, lazy = matrices(system, xp)
    if xp is np:
        check_operator(PRECONDITIONERS[name](A), hermitian=True)
    if A.dtype.kind == "c":  # the others differ in numbers only, and graphs are slow
        check_operator(PRECONDITIONERS[name](lazy), xp, hermitian=True)


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_preconditioners_serve_scipy(name: str) -> None:
    system = SYSTEMS["badly scaled"]
    steps: list[Any] = []
    M = PRECONDITIONERS[name](system.A)
    x, info = scipy.sparse.linalg.cg(system.A, system.b, rtol=1e-8, M=M, callback=steps.append)
    plain: list[Any] = []
    scipy.sparse.linalg.cg(system.A, system.b, rtol=1e-8, callback=plain.append)
    assert info == 0
    assert len(steps) < len(plain)
    np.testing.assert_allclose(system.A @ x, system.b, atol=1e-6)


@pytest.mark.parametrize("name", PRECONDITIONERS)
def test_parts_of_a_preconditioner_make_the_whole(name: str, xp: ModuleType) -> None:
    _, A = matrices("spd", xp)
    M = PRECONDITIONERS[name](A)
    r = xp.asarray(SYSTEMS["spd"].b)
    whole = here(M @ da.from_array(r, chunks=(A.row_chunks,)))
    vectors = [v.compute() for v in M.vectors]
    product = as_operator(SYSTEMS["spd"].A)
    found, start = [], 0
    for blocks in (range(2), range(2, 3)):
        stop = start + sum(A.row_chunks[i] for i in blocks)
        rule = pickle.loads(pickle.dumps(M.part(blocks)))

        def local(part: Any, start: int = start, stop: int = stop) -> Any:
            raise AssertionError("only a polynomial multiplies")

        if M.matrix is None:
            found.append(here(rule(local, tuple(v[start:stop] for v in vectors), r[start:stop])))
        start = stop
    if M.matrix is not None:
        found = [here(M.part(range(3))(lambda x: xp.asarray(product(here(x))), (), r))]
    np.testing.assert_allclose(np.concatenate(found), whole, rtol=1e-12)


def test_jacobi_divides_by_the_diagonal() -> None:
    A = SYSTEMS["complex"].A
    r = SYSTEMS["complex"].b
    for matrix in (A, A.toarray(), da.from_array(A.toarray(), chunks=(30, 20)), CSRMatrix.from_scipy(A, blocks=2)):
        np.testing.assert_allclose(here(osp.linalg.jacobi(matrix) @ r), r / A.diagonal())


@pytest.mark.parametrize("size", [1, 4, 9, 100])
@pytest.mark.parametrize("blocks", [1, 3])
def test_block_jacobi_solves_with_the_blocks(size: int, blocks: int) -> None:
    A = SYSTEMS["nonsymmetric"].A
    r = SYSTEMS["nonsymmetric"].b
    lazy = CSRMatrix.from_scipy(A, blocks=blocks)
    expected = np.empty_like(r)
    start = 0
    for rows in lazy.row_chunks:
        for first in range(start, start + rows, size):
            part = slice(first, min(first + size, start + rows))
            expected[part] = np.linalg.solve(A.toarray()[part, part], r[part])
        start += rows
    np.testing.assert_allclose(here(osp.linalg.block_jacobi(lazy, size) @ r), expected, rtol=1e-10)


def test_block_jacobi_of_a_block_diagonal_matrix_is_its_inverse() -> None:
    A = sp.block_diag([sp.coo_array([[4.0, 1], [1, 3]])] * 5).tocsr()
    steps: list[Any] = []
    _, info = osp.linalg.cg(A, np.arange(10.0), M=osp.linalg.block_jacobi(A, 2), callback=steps.append)
    assert (info, len(steps)) == (0, 1)


def test_chebyshev_brings_eigenvalues_together() -> None:
    A = poisson(10)
    low, high = np.linalg.eigvalsh(A.toarray())[[0, -1]]
    before = np.inf
    for degree in (1, 3, 8):
        M = osp.linalg.chebyshev(A, degree, bounds=(low, high))
        values = np.linalg.eigvals(np.column_stack([M @ column for column in A.toarray()])).real
        assert values.min() > 0
        spread = values.max() / values.min()
        assert spread < before
        before = spread
    assert before < 1.5


def test_chebyshev_finds_bounds() -> None:
    A = poisson(10)
    values = np.linalg.eigvalsh(A.toarray())
    for matrix in (A, CSRMatrix.from_scipy(A, blocks=2)):
        rule = osp.linalg.chebyshev(matrix).rule
        assert 0 < rule.low <= 10 * values[0]
        assert values[-1] <= rule.high <= 1.5 * values[-1]
    assert osp.linalg.chebyshev(2 * np.eye(3)).rule.high == pytest.approx(2)


def test_what_cannot_be_preconditioned() -> None:
    wide, indefinite = np.ones((2, 3)), SYSTEMS["indefinite"].A
    for make in PRECONDITIONERS.values():
        with pytest.raises(osp.ArrayError, match="square"):
            make(wide)
    with pytest.raises(osp.ArrayError, match="row 1"):
        osp.linalg.jacobi(np.diag([1.0, 0, 2]))
    with pytest.raises(osp.ArrayError, match="singular"):
        osp.linalg.block_jacobi(sp.csr_array(np.ones((4, 4))), 2)
    with pytest.raises(osp.ArrayError, match="positive definite"):
        osp.linalg.chebyshev(indefinite - 3 * sp.eye_array(indefinite.shape[0]))
    with pytest.raises(osp.ArrayError, match="use chebyshev"):
        osp.linalg.jacobi(osp.linalg.LinearOperator((2, 2), lambda x: x))
    with pytest.raises(osp.ArrayError, match="CSRMatrix"):
        osp.linalg.block_jacobi(da.eye(4, chunks=2), 2)
    with pytest.raises(osp.UsageError, match="size=0"):
        osp.linalg.block_jacobi(np.eye(2), 0)
    with pytest.raises(osp.UsageError, match="degree=0"):
        osp.linalg.chebyshev(np.eye(2), 0)
    with pytest.raises(osp.UsageError, match="bounds="):
        osp.linalg.chebyshev(np.eye(2), 2, bounds=(0, 1))


def test_a_preconditioner_of_another_matrix_keeps_to_it() -> None:
    A = SYSTEMS["spd"].A
    lazy = CSRMatrix.from_scipy(A, blocks=2)
    other = CSRMatrix.from_scipy(sp.csr_array(A + beside(A.shape[0], 0.0, 0.5, 0.0)), blocks=2)
    M = osp.linalg.chebyshev(other, 2, bounds=(0.5, 8.5))
    assert not M.goes_with(lazy)
    assert M.goes_with(other.persist())
    assert osp.linalg.jacobi(other).goes_with(lazy)
    x, info = osp.linalg.cg(lazy, SYSTEMS["spd"].b, M=M, rtol=1e-6)
    assert info == 0
    np.testing.assert_allclose(A @ x, SYSTEMS["spd"].b, atol=1e-4)
