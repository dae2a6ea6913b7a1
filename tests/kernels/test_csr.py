"""Products of row blocks: SciPy's, our kernels' on a GPU, and our kernels' run by the host, by one test body each."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from cases import matrix
from kernels import host_cupy
from kernels.csr_cases import COLUMNS, ROWS, assert_close, csr, lane_steps
from overspill.errors import ArrayError
from overspill.kernels import csr as dispatching
from overspill.kernels import csr_choice, csr_known, sources


@dataclass(frozen=True)
class Side:
    """Who multiplies, and how blocks and arrays get there."""

    name: str
    matvec: Callable[..., Any]
    rmatvec: Callable[[Any, Any], Any]
    block: Callable[[Any], Any]
    array: Callable[[Any], Any]
    facts: ModuleType | None
    schedule: ModuleType | None

    def product(self, A: Any, x: Any) -> Any:
        """``A @ x``, the same bits twice."""
        return self._twice(self.matvec, A, x)

    def transposed_product(self, A: Any, x: Any) -> Any:
        """``A.T @ x``, the same bits twice."""
        return self._twice(self.rmatvec, A, x)

    def _twice(self, multiply: Callable[[Any, Any], Any], A: Any, x: Any) -> Any:
        block = self.block(A)
        one, two = (multiply(block, self.array(x)) for _ in range(2))
        one, two = ((y.get() if hasattr(y, "get") else y) for y in (one, two))
        assert one.tobytes() == two.tobytes()
        return one


@pytest.fixture(scope="module", params=["scipy", "host", pytest.param("cuda", marks=pytest.mark.gpu)])
def side(request: pytest.FixtureRequest) -> Side:
    if request.param == "scipy":
        return Side("scipy", dispatching.matvec, dispatching.rmatvec, lambda A: A, lambda x: x, None, None)
    if request.param == "host":
        folder = request.config.cache.mkdir("kernels_on_host")
        _, facts, schedule, launchers = host_cupy.launchers(
            folder, on_trial, "compiled", "csr_facts", "csr_schedule", "csr_cuda"
        )
        return Side(
            "host", launchers.matvec, launchers.rmatvec, host_cupy.Block, host_cupy.device_array, facts, schedule
        )
    import cupy
    from cupyx.scipy.sparse import csr_matrix

    from overspill.kernels import csr_facts, csr_schedule
    from overspill.kernels.csr_residence import make

    def block(A: Any) -> csr_matrix:
        return make(*(cupy.asarray(x) for x in (A.data, A.indices, A.indptr)), A.shape[1])

    def array(x: Any) -> Any:
        return cupy.array(x, order="K")

    return Side("cuda", dispatching.matvec, dispatching.rmatvec, block, array, csr_facts, csr_schedule)


def on_trial(expression: str) -> bool:
    """Whether the host compiles a kernel with the others of its source: double precision, and complex of single."""
    types = ("<double, double, int", "<Complex<float>, Complex<float>, long long")
    return any(t in expression for t in types) or (expression.startswith("csr_") and expression.count(",") < 2)


def test_a_small_product(side: Side) -> None:
    A = csr(np.array([2, 1]), 3, "float64")
    A.data[:], A.indices[:] = [1, 2, 3], [0, 2, 2]
    assert side.product(A, np.array([1.0, 10, 100])).tolist() == [201, 300]
    assert side.transposed_product(A, np.array([1.0, 10])).tolist() == [1, 0, 32]


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize(("dtype", "index"), [("float64", "int32"), ("complex64", "int64")])
def test_rows_of_all_lengths(side: Side, dtype: str, index: str, case: str) -> None:
    A = csr(ROWS[case], COLUMNS, dtype, index)
    x, z = matrix((A.shape[1],), dtype, 1), matrix((A.shape[0],), dtype, 2)
    assert_close(side.product(A, x), A, x)
    assert_close(side.transposed_product(A, z), A.T.tocsr(), z)


ORDERS = {0: ["C"], 1: ["F", "every other row"], 3: ["C", "F"], 8: ["C", "F", "every other row"]}
"""How columns may lie, by how many there are."""


@pytest.mark.parametrize(
    ("case", "k", "order"),
    [
        (case, k, order)
        for case, counts in (("regular", (0, 1, 3, 8)), ("power law", (1, 3)), ("all empty", (0, 3)))
        for k in counts
        for order in ORDERS[k]
    ],
)
def test_several_columns(side: Side, case: str, k: int, order: str) -> None:
    A = csr(ROWS[case][:60], COLUMNS, "float64")

    def operand(rows: int, seed: int) -> Any:
        x = matrix((2 * rows, k), "float64", seed)
        return x[::2] if order == "every other row" else x[:rows].copy(order=order)

    x, z = operand(A.shape[1], 1), operand(A.shape[0], 2)[:, :3]  # transposed products go column by column
    assert_close(side.product(A, x), A, x)
    assert_close(side.transposed_product(A, z), A.T.tocsr(), z)


PAIRS = [(stored, other) for stored in sources.RESULTS for other in sources.RESULTS]


@pytest.mark.parametrize(("dtype", "other"), PAIRS)
@pytest.mark.parametrize("index", sources.INDICES)
@pytest.mark.parametrize("case", ["regular", "dense rows"])
def test_all_types(side: Side, dtype: str, other: str, index: str, case: str, request: pytest.FixtureRequest) -> None:
    if side.name == "host" and (dtype, other, index) != ("float64", "float64", "int32"):
        pytest.skip("compiling all types for the host would take minutes")
    A = csr(ROWS[case][:75], COLUMNS, dtype, index)
    x, z = matrix((A.shape[1],), other, 1), matrix((A.shape[0],), other, 2)
    X, Z = matrix((A.shape[1], 8), other, 1), matrix((A.shape[0], 2), other, 2)
    assert_close(side.product(A, x), A, x)
    assert_close(side.product(A, X), A, X)
    assert_close(side.transposed_product(A, z), A.T.tocsr(), z)
    assert_close(side.transposed_product(A, Z), A.T.tocsr(), Z)


@pytest.mark.parametrize("case", ["regular", "mostly empty", "power law", "dense rows", "all empty"])
@pytest.mark.parametrize("k", [None, 3])
def test_results_are_written_where_they_shall(side: Side, case: str, k: int | None) -> None:
    A = csr(ROWS[case], COLUMNS, "float64")
    x = matrix((A.shape[1],) if k is None else (A.shape[1], k), "float64", 1)
    room = side.array(np.full((A.shape[0] + 2, *x.shape[1:]), np.nan))
    out = room[1:-1]
    assert side.matvec(side.block(A), side.array(x), out) is out
    written = room.get() if hasattr(room, "get") else room
    assert np.isnan(written[[0, -1]]).all()
    assert_close(written[1:-1], A, x)


def test_results_are_written_in_the_type_of_what_they_are_written_to(side: Side) -> None:
    A = csr(ROWS["regular"], COLUMNS, "complex64", "int64")
    x = matrix((A.shape[1],), "complex64", 1)
    out = side.array(np.empty(A.shape[0], np.complex128))
    assert side.matvec(side.block(A), side.array(x), out) is out
    written = out.get() if hasattr(out, "get") else out
    assert_close(written.astype(np.complex64), A, x)


def test_a_long_row(side: Side) -> None:
    width = 1_000_000 if side.name == "cuda" else 20_000
    A = csr(np.concatenate([np.full(50, 2), [width], np.full(50, 2)]), width, "float64")
    x, z = matrix((width,), "float64", 1), matrix((101,), "float64", 2)
    assert_close(side.product(A, x), A, x)
    assert_close(side.transposed_product(A, z), A.T.tocsr(), z)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_scattered_columns(side: Side, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Panel by panel, where x does not fit into the cache."""
    A = csr(np.full(70, 27), 300_000, dtype)
    x = matrix((A.shape[1],), dtype, 1)
    if side.schedule is not None:
        monkeypatch.setattr(side.schedule, "cache_nbytes", lambda: 2**20)
        cuts = side.schedule.cuts(side.block(A), x.itemsize).get()
        bounds = [300_000 * panel // 4 for panel in (1, 2, 3)]
        rows = [A.indices[A.indptr[row] : A.indptr[row + 1]] for row in range(70)]
        expected = [[A.indptr[row] + np.searchsorted(rows[row], bound) for row in range(70)] for bound in bounds]
        assert cuts.tolist() == expected
    assert_close(side.product(A, x), A, x)


def test_columns_in_order_are_no_panels(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    if side.schedule is None:
        pytest.skip("SciPy has no panels")
    monkeypatch.setattr(side.schedule, "cache_nbytes", lambda: 2**10)
    banded = scipy.sparse.diags_array(np.ones(27), offsets=range(-13, 14), shape=(500, 500)).tocsr()
    spread = scipy.sparse.diags_array(np.ones(27), offsets=range(0, 270_000, 10_000), shape=(500, 300_000)).tocsr()
    for A in (banded, spread, csr(ROWS["one row"], COLUMNS, "float64")):
        assert side.schedule.cuts(side.block(A), 8) is None


SCHEDULES = {
    "regular": (8, False, False),
    "mostly empty": (4, True, False),
    "short and two long": (1, False, True),
    "few and two long": (1, True, True),
}
"""Of a case: lanes, whether rows with entries are listed, and whether long rows are cut."""

LONG_ROWS = {
    "short and two long": np.where(np.arange(500) % 250 == 99, 9000, 2),
    "few and two long": np.where(np.arange(4000) % 2000 == 99, 9000, 2 * (np.arange(4000) % 9 == 0)),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedules(side: Side, case: str) -> None:
    if side.schedule is None:
        pytest.skip("SciPy has no schedules")
    A = csr((ROWS | LONG_ROWS)[case], 10_000, "float64")
    found = side.schedule.choose(side.block(A))
    assert (found.lanes, found.listed is not None, found.long > 0) == SCHEDULES[case]
    x = matrix((A.shape[1],), "float64", 1)
    assert_close(side.product(A, x), A, x)
    X = matrix((A.shape[1], 3), "float64", 1)
    assert_close(side.product(A, X), A, X)


def test_rows_whose_numbers_are_beyond_indices_are_not_listed(side: Side) -> None:
    if side.schedule is None:
        pytest.skip("SciPy has no schedules")
    block = host_cupy.Block(csr(ROWS["mostly empty"], COLUMNS, "float64", "int32"))
    block.shape = 2**31, COLUMNS  # as if: the arrays would take minutes
    assert side.schedule.choose(block) is None


def test_what_is_no_number_stays_in_its_rows_and_columns(side: Side) -> None:
    A = csr(ROWS["seven"], COLUMNS, "float64")
    x = matrix((A.shape[1],), "float64", 1)
    x[0], x[A.indices[10]], x[A.indices[300]] = np.nan, np.inf, -np.inf
    z = matrix((A.shape[0],), "float64", 2)
    z[3], z[7], z[20] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        for y, expected in ((side.product(A, x), A @ x), (side.transposed_product(A, z), A.T @ z)):
            np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
            assert not np.isfinite(y).all()


@pytest.mark.parametrize(("of_matrix", "of_vector"), [(-1000, 900), (-500, -450), (500, 480), (1000, -1000)])
def test_transposed_products_of_the_largest_and_smallest_numbers(side: Side, of_matrix: int, of_vector: int) -> None:
    A = csr(ROWS["seven"], 300, "float64")
    z = matrix((A.shape[0],), "float64", 2)
    expected = A.T.tocsr() @ z
    A.data = np.ldexp(A.data, of_matrix)
    y = side.transposed_product(A, np.ldexp(z, of_vector))
    np.testing.assert_allclose(np.ldexp(y, -of_matrix - of_vector), expected, rtol=1e-12, atol=1e-13)


def test_sums_beyond_the_largest_number_are_infinite(side: Side) -> None:
    A = csr(np.array([1, 1]), 1, "float32")
    A.data[:] = 3e38
    with np.errstate(over="ignore"):
        assert side.transposed_product(A, np.ones(2, np.float32)).tolist() == [np.inf]


def test_transposed_products_of_numbers_far_apart(side: Side) -> None:
    A = csr(ROWS["seven"], 3000, "float64")
    A.data *= 10.0 ** -(A.indices % 13)
    z = matrix((A.shape[0],), "float64", 2)
    assert_close(side.transposed_product(A, z), A.T.tocsr(), z)


def test_products_are_adjoint_and_linear(side: Side) -> None:
    A = csr(ROWS["power law"], COLUMNS, "complex64", "int64")
    x, z = matrix((A.shape[1],), "complex64", 1), matrix((A.shape[0],), "complex64", 2)
    y, w = side.product(A, x), side.transposed_product(A, z)
    size = float(abs(z) @ (abs(A) @ abs(x)))
    assert abs(np.sum(z.astype(complex) * y) - np.sum(w.astype(complex) * x)) <= 1e-6 * size
    assert (side.product(A, 2 * x) == 2 * y).all()
    assert (side.transposed_product(A, 2 * z) == 2 * w).all()


def test_operands_of_other_shapes_are_refused() -> None:
    A = csr(ROWS["seven"], 300, "float64")
    with pytest.raises(ArrayError, match=r"shape \(201,\) does not match the 300 columns of a block: pass \(300,\)"):
        dispatching.matvec(A, np.ones(201))
    with pytest.raises(ArrayError, match="does not match the 201 rows"):
        dispatching.rmatvec(A, np.ones((300, 2)))


@pytest.mark.parametrize("case", [case for case in ROWS if case not in ("all empty", "no rows")])
def test_profiles_count_what_lanes_wait_for(side: Side, case: str) -> None:
    if side.facts is None:
        pytest.skip("SciPy has no lanes")
    lengths = ROWS[case]
    for limit in (None, 16):
        counted = np.where(lengths <= limit, lengths, 0) if limit else lengths
        found = side.facts.profile(side.block(csr(lengths, COLUMNS, "float64")).indptr, limit)
        assert found.slots == tuple(lane_steps(counted, width) for width in csr_choice.WIDTHS)
        assert (found.longest, found.occupied) == (counted.max(), np.count_nonzero(counted))
        assert found.entries == counted.sum()


@pytest.mark.parametrize("case", ROWS)
def test_tiles_begin_where_row_ends_and_entries_are_merged(side: Side, case: str) -> None:
    if side.facts is None:
        pytest.skip("SciPy has no tiles")
    A = csr(ROWS[case], COLUMNS, "float64")
    # An end comes after its row's entries: of equal places the entry is first, since the end counts those before it.
    merged = sorted([(int(end), 0) for end in A.indptr[1:]] + [(entry, 1) for entry in range(A.nnz)])
    ends = np.cumsum([0] + [kind == 0 for _, kind in merged])
    count, boundaries = side.facts.tiles(side.block(A))
    assert count == -(-len(merged) // side.facts.TILE)
    expected = [ends[min(t * side.facts.TILE, len(merged))] for t in range(count + 1)]
    assert np.asarray(boundaries.get()).tolist() == expected


def test_facts_go_with_their_block(side: Side) -> None:
    if side.facts is None:
        pytest.skip("SciPy's products need no facts")
    block = side.block(csr(ROWS["regular"], COLUMNS, "float64"))
    before = len(side.facts._facts), len(csr_known._known)
    side.matvec(block, side.array(np.ones(COLUMNS)))
    assert (len(side.facts._facts), len(csr_known._known)) == (before[0] + 1, before[1] + 1)
    del block
    assert (len(side.facts._facts), len(csr_known._known)) == before


def test_what_is_known_of_a_block_is_known_of_its_copy(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    if side.schedule is None:
        pytest.skip("SciPy's products need no facts")
    for case in ROWS | LONG_ROWS:
        A = csr((ROWS | LONG_ROWS)[case], 10_000, "float64")
        x = side.array(matrix((A.shape[1],), "float64", 1))
        one, other = side.block(A), side.block(A)
        csr_known.share(one, other)
        expected = side.matvec(one, x)
        with monkeypatch.context() as patch:
            patch.setattr(side.schedule, "profile", None)
            assert (side.matvec(other, x) == expected).all()
