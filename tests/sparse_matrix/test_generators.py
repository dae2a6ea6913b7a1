"""Matrices made by rule or by chance: what they are, and that it does not depend on how they are cut."""

import sys
from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from math import prod
from typing import Any

import dask
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import resources
from overspill.errors import ArrayError, DTypeError, UsageError
from overspill.planning.resources import using
from overspill.sparse import CSRMatrix
from overspill.sparse.block import Block
from overspill.sparse.generators import banded, poisson, random, rmat, stencil, units
from overspill.sparse.generators.quadrants import Quadrants, relabelled
from overspill.sparse.generators.stencil import Stencil

GENERATORS: dict[str, Callable[..., CSRMatrix]] = {
    "poisson": lambda **given: poisson((5, 4, 7), **given),
    "banded": lambda **given: banded(100, (-50, -1, 0, 3), **given),
    "random": lambda **given: random((70, 30), nnz_per_row=6, **given),
    "random of a density": lambda **given: random((70, 30), density=0.3, **given),
    "dense random": lambda **given: random((70, 30), density=0.9, **given),
    "rmat": lambda **given: rmat(7, 4, **given),
    "rmat, permuted": lambda **given: rmat(7, 4, permute=True, **given),
}


@pytest.fixture(autouse=True)
def synchronous() -> Any:
    with dask.config.set(scheduler="synchronous"):
        yield


def blocks_of(A: CSRMatrix) -> list[Any]:
    """The row blocks, each held against what the matrix says of it before it is computed."""
    parts = dask.get(dict(A.dask), A.__dask_keys__())
    for part, block in zip(parts, A.blocks, strict=True):
        assert part.shape == block.shape
        assert block.nnz in (None, part.nnz)
        assert part.dtype == A.dtype
        assert part.has_sorted_indices and part.has_canonical_format
        assert 0 <= block.columns[0] <= block.columns[1] <= A.shape[1]
    assert sum(A.row_chunks) == A.shape[0]
    return parts


def whole(A: CSRMatrix) -> Any:
    blocks_of(A)
    return A.to_scipy()


def same(A: Any, B: Any) -> None:
    assert A.shape == B.shape and A.nnz == B.nnz
    np.testing.assert_array_equal(A.toarray(), B.toarray(), strict=True)


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_the_same_however_it_is_cut(make: Callable[..., CSRMatrix], dtype: str) -> None:
    one = make(blocks=1, dtype=dtype)
    assert len(one.blocks) == 1
    for number in (2, 7):
        cut = make(blocks=number, dtype=dtype)
        assert len(cut.blocks) == number
        same(whole(cut), whole(one))


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_nothing_is_made_before_it_is_computed(make: Callable[..., CSRMatrix], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a block was made")

    for module, name in (("stencil", "rows_of"), ("random", "_rows"), ("rmat", "_block"), ("rmat", "_relabelled")):
        # The package's functions have the names of its modules, and come first.
        monkeypatch.setattr(sys.modules[f"overspill.sparse.generators.{module}"], name, refuse)
    A = make(blocks=3)
    with pytest.raises(AssertionError, match="a block was made"):
        A.to_scipy()


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_names_tell_matrices_apart(make: Callable[..., CSRMatrix]) -> None:
    assert make(blocks=2).name == make(blocks=2).name
    assert make(blocks=2).name != make(blocks=2, dtype="f4").name
    with pytest.raises(ArrayError, match="blocks=0 is no count"):
        make(blocks=0)


def second_difference(n: int) -> Any:
    return scipy.sparse.diags_array(
        [-np.ones(max(0, n - 1)), 2 * np.ones(n), -np.ones(max(0, n - 1))], offsets=[-1, 0, 1]
    )


@pytest.mark.parametrize("shape", [(1,), (9,), (1, 1), (4, 6), (1, 5), (5, 1), (3, 4, 5), (1, 1, 4), (2, 1, 3)])
def test_poisson_along_axes_is_a_sum_of_second_differences(shape: tuple[int, ...]) -> None:
    def along(axis: int) -> Any:
        before, after = scipy.sparse.eye_array(prod(shape[:axis])), scipy.sparse.eye_array(prod(shape[axis + 1 :]))
        return scipy.sparse.kron(scipy.sparse.kron(before, second_difference(shape[axis])), after)

    expected = reduce(lambda A, B: A + B, map(along, range(len(shape))))
    found = whole(poisson(shape, blocks=3))
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


@pytest.mark.parametrize("shape", [(1, 1), (4, 6), (5, 1), (3, 4, 5), (2, 1, 3)])
def test_poisson_across_corners_connects_all_neighbours(shape: tuple[int, ...]) -> None:
    bands = [scipy.sparse.diags_array([1.0] * 3, offsets=[-1, 0, 1], shape=(side, side)) for side in shape]
    near = reduce(scipy.sparse.kron, bands)
    expected = 3 ** len(shape) * scipy.sparse.eye_array(prod(shape)) - near
    np.testing.assert_array_equal(whole(poisson(shape, 3 ** len(shape), blocks=2)).toarray(), expected.toarray())


@pytest.mark.parametrize(
    ("shape", "stencil"), [((3, 3), 7), ((3, 3, 3), 5), ((3,), 5), ((), None), ((2, 2, 2, 2), None), ((3, -1), 5)]
)
def test_stencils_that_do_not_fit(shape: tuple[int, ...], stencil: int | None) -> None:
    with pytest.raises(UsageError, match="do not go together"):
        poisson(shape, stencil)


def test_entries_of_a_large_stencil_are_counted_without_making_it() -> None:
    A = poisson((512, 512, 512))
    assert A.nnz == 7 * 512**3 - 6 * 512**2
    assert len(A.blocks) == 42


def test_one_block_or_more_a_worker() -> None:
    with using(resources(workers=3)):
        assert len(poisson((9, 9)).blocks) == len(rmat(8).blocks) == 3


@st.composite
def stencils(draw: st.DrawFn) -> Stencil:
    """Of up to three axes, with steps across its corners and beyond its sides."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 7]), min_size=1, max_size=3))
    step = st.tuples(*(st.integers(-1, 1) | st.integers(-side - 1, side + 1) for side in shape))
    offsets = draw(st.lists(step, max_size=8, unique=True))
    return Stencil(tuple(shape), tuple(offsets), tuple(1.5 + number for number in range(len(offsets))))


@settings(max_examples=60, deadline=None)
@given(made=stencils(), blocks=st.integers(1, 5), entries=st.sampled_from([1, 6, 40]), remembered=st.integers(1, 3))
def test_a_stencil_is_a_sum_of_shifts_along_each_axis(
    made: Stencil, blocks: int, entries: int, remembered: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # units so small that there are many, patterns made more than once
        patch.setattr(units, "UNIT_ENTRIES", entries)
        patch.setattr(units, "SMALL_UNIT_ENTRIES", 1)
        patch.setattr(stencil, "PATTERNS", remembered)
        found = whole(stencil.stencil_matrix(made, name="stencil", dtype="f8", blocks=blocks))
    expected = np.zeros((made.size, made.size))
    for offset, value in zip(made.offsets, made.values, strict=True):
        expected += value * reduce(np.kron, [np.eye(side, k=k) for side, k in zip(made.shape, offset, strict=True)])
    np.testing.assert_array_equal(found.toarray(), expected)


@pytest.mark.parametrize(("offsets", "index"), [((2**32,), "i4"), ((-(2**32), 2**32), "i8")])
def test_columns_farther_from_their_rows_than_32_bits_reach(offsets: tuple[int, ...], index: str) -> None:
    far = Stencil((2**33,), tuple((offset,) for offset in offsets), (1.0,) * len(offsets))
    start, stop = 2**32 - 50, 2**32 + 70  # each offset leads into the grid up to the middle, or from there
    expected = [(row, row + offset) for row in range(start, stop) for offset in offsets if 0 <= row + offset < far.size]
    window = min(column for _, column in expected), max(column for _, column in expected) + 1
    found = stencil.rows_of(far, start, stop, Block(stop - start, window, len(expected)), np.dtype("f8"))
    assert found.indices.dtype == index
    rows = np.repeat(np.arange(start, stop), np.diff(found.indptr))
    columns = found.indices.astype(np.int64) + window[0]
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == expected


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 20), offsets=st.lists(st.integers(-25, 25), max_size=6, unique=True), blocks=st.integers(1, 5))
def test_banded_is_what_scipy_makes_of_diagonals(n: int, offsets: list[int], blocks: int) -> None:
    values = [1.5 + number for number in range(len(offsets))]
    found = whole(banded(n, offsets, values, blocks=blocks))
    expected = np.zeros((n, n))
    for offset, value in zip(offsets, values, strict=True):
        expected += value * np.eye(n, k=offset)
    np.testing.assert_array_equal(found.toarray(), expected)


def test_bands_as_they_come() -> None:
    np.testing.assert_array_equal(whole(banded(9, 1)).toarray(), second_difference(9).toarray())
    assert np.linalg.eigvalsh(whole(banded(40, 3)).toarray()).min() > 0
    for offsets, values in [((0, 0), None), ((0, 1), (1,))]:
        with pytest.raises(UsageError, match="name each diagonal once"):
            banded(4, offsets, values)
    with pytest.raises(UsageError, match="offsets=-1 is no half-width"):
        banded(4, -1)
    with pytest.raises(UsageError, match="n=-4 is no number of rows"):
        banded(-4, 1)
    with pytest.raises(DTypeError, match="are complex, float64 is not"):
        banded(4, 0, [1j])
    assert whole(banded(2, 0, [1j], dtype="c8")).trace() == 2j


@pytest.mark.parametrize("nnz_per_row", [0, 1, 6, 15, 16, 29, 30])
def test_random_rows_have_as_many_entries_as_asked_for(nnz_per_row: int) -> None:
    A = random((50, 30), nnz_per_row=nnz_per_row, blocks=4)
    found = whole(A)
    assert A.nnz == found.nnz == 50 * nnz_per_row
    np.testing.assert_array_equal(np.diff(found.indptr), nnz_per_row)
    assert ((found.data >= 0) & (found.data < 1)).all()


@pytest.mark.parametrize("given", [{"nnz_per_row": 2}, {"nnz_per_row": 5}, {"density": 0.3}, {"density": 0.8}])
def test_random_columns_are_all_alike(given: dict[str, Any]) -> None:
    # Each column's count is binomial: five standard deviations, for seven columns and one seed.
    found = whole(random((20_000, 7), seed=5, **given))
    share = given.get("density") or given["nnz_per_row"] / 7
    counts = np.bincount(found.indices, minlength=7)
    assert np.abs(counts - 20_000 * share).max() < 5 * np.sqrt(20_000 * share * (1 - share))
    pairs = (found.toarray() != 0)[:, :3]
    if "density" in given:
        assert abs((pairs[:, 0] & pairs[:, 1]).mean() - share**2) < 0.02
    else:
        assert abs((pairs[:, 0] & pairs[:, 1]).mean() - share * (given["nnz_per_row"] - 1) / 6) < 0.02


def test_seeds_make_different_matrices() -> None:
    for make in (
        GENERATORS["random"],
        GENERATORS["random of a density"],
        GENERATORS["rmat"],
        GENERATORS["rmat, permuted"],
    ):
        assert (whole(make(seed=1)) != whole(make(seed=2))).nnz > 0
        assert (whole(make(seed=1)) != whole(make(seed=1))).nnz == 0


@pytest.mark.parametrize(
    "given", [{}, {"nnz_per_row": 1, "density": 0.5}, {"nnz_per_row": 8}, {"nnz_per_row": -1}, {"density": 1.5}]
)
def test_random_refuses(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="give one of them|is not from 0 to"):
        random((5, 7), **given)
    with pytest.raises(UsageError, match="is no shape"):
        random((-5, 7), density=0.5)


def quadrant_shares(A: Any, level: int) -> Any:
    """Shares of all edges in the quadrants, at one level of the division, added up over those of the levels above."""
    n = A.shape[0] >> level
    A = A.tocoo()
    rows, columns = A.row // (n // 2) % 2, A.col // (n // 2) % 2
    return np.bincount(2 * rows + columns, A.data, minlength=4).reshape(2, 2) / A.data.sum()


def test_rmat_edges_fall_into_quadrants_by_their_chances() -> None:
    A = whole(rmat(10, 64, seed=7))
    assert A.sum() == 64 * 2**10
    for level in range(10):
        shares = quadrant_shares(A, level)
        np.testing.assert_allclose(shares, [[0.57, 0.19], [0.19, 0.05]], atol=5 * 0.5 / np.sqrt(64 * 2**10))


def test_rmat_with_chances_of_its_own() -> None:
    lower_right = whole(rmat(5, 3, 0, 0, 0))
    assert lower_right[31, 31] == 96 and lower_right.nnz == 1
    diagonal = whole(rmat(6, 8, 0.5, 0, 0, blocks=3))
    assert (diagonal.tocoo().row == diagonal.tocoo().col).all()
    assert whole(rmat(0, 5)).toarray() == [[5]]
    assert whole(rmat(4, 0, blocks=3)).nnz == 0
    with pytest.raises(UsageError, match="no chances"):
        rmat(4, a=0.9)
    with pytest.raises(UsageError, match="scale=-1"):
        rmat(-1)


def test_rmat_has_more_edges_at_the_top_unless_permuted() -> None:
    plain, permuted = whole(rmat(10, 8)), whole(rmat(10, 8, permute=True))
    assert permuted.sum() == plain.sum() and permuted.nnz == plain.nnz
    for axis in (0, 1):
        np.testing.assert_array_equal(np.sort(permuted.sum(axis=axis)), np.sort(plain.sum(axis=axis)))
    assert plain[:512].sum() > 0.7 * plain.sum()
    assert abs(permuted[:512].sum() / plain.sum() - 0.5) < 0.1
    np.testing.assert_array_equal(np.sort(permuted.diagonal()), np.sort(plain.diagonal()))


@pytest.mark.parametrize("scale", [0, 1, 2, 3, 8, 13])
def test_vertices_keep_different_numbers(scale: int) -> None:
    vertices = np.arange(2**scale, dtype=np.int32)
    found = relabelled(vertices, Quadrants(scale, 0.5, 0.2, 0.2, seed=3))
    np.testing.assert_array_equal(np.sort(found), vertices)


def test_rmat_blocks_have_like_many_edges() -> None:
    A = rmat(12, 16, blocks=4)
    sums = [part.sum() for part in blocks_of(A)]
    rows = A.row_chunks
    assert all(first < second for first, second in pairwise(rows))
    loads = np.array(sums) + np.array(rows)
    assert loads.max() < 1.3 * loads.mean()
