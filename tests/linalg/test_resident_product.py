"""Products of a matrix that lies with several ranks, by every way in which they talk."""

import importlib
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from linalg import ranks
from overspill import backend
from overspill.kernels import csr_residence
from overspill.linalg.resident import bands, halo
from overspill.linalg.resident.communicator import Communicator
from overspill.linalg.resident.product import Product


def blocks_of(A: scipy.sparse.csr_array, rows: tuple[int, ...], on_device: bool) -> tuple[list[Any], list[int]]:
    """Row blocks of `rows` rows each, in windows that hold their entries, and the windows' first columns."""
    blocks, firsts = [], []
    for start, stop in pairwise((0, *accumulate(rows))):
        part = A[start:stop]
        part.sort_indices()
        first = int(part.indices.min()) if part.nnz else start
        last = int(part.indices.max()) if part.nnz else start
        arrays = part.data, part.indices - np.int32(first), part.indptr
        if on_device:
            xp = importlib.import_module("cupy")
            arrays = tuple(xp.asarray(each) for each in arrays)
        blocks.append(csr_residence.make(*arrays, last + 1 - first))
        firsts.append(first)
    return blocks, firsts


def distributed(A: scipy.sparse.csr_array, rows: tuple[tuple[int, ...], ...], kind: Any, work: Any, *xs: Any) -> Any:
    """`work` of the product and of each rank's rows of `xs`, put together; each rank has blocks of so many `rows`."""
    cuts = (0, *accumulate(sum(each) for each in rows))

    def take_part(communicator: Communicator) -> Any:
        rank = communicator.rank
        on_device = kind is ranks.nccl
        start, stop = cuts[rank], cuts[rank + 1]
        blocks, firsts = blocks_of(A[start:stop], rows[rank], on_device)
        product = Product(communicator, blocks, firsts, cuts)
        xp = backend.array_namespace(blocks[0].data)
        return [backend.to_numpy(found) for found in work(product, *(xp.asarray(x[start:stop]) for x in xs))]

    return [np.concatenate(parts) for parts in zip(*ranks.run(len(rows), kind, take_part), strict=True)]


def all_products(product: Product, x: Any, X: Any) -> list[Any]:
    return [product(x), product(X), product(2 * x), product.transposed(x), product.adjoint(X), product(x)]


def check(A: scipy.sparse.csr_array, rows: tuple[tuple[int, ...], ...], kind: Any, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    x, X = rng.random(A.shape[0]), rng.random((A.shape[0], 3))
    found = distributed(A, rows, kind, all_products, x, X)
    expected = [A @ x, A @ X, A @ (2 * x), A.T @ x, A.conj().T @ X, A @ x]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


def laplacian(n: int) -> scipy.sparse.csr_array:
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
    eye = scipy.sparse.eye_array(n)
    return (scipy.sparse.kron(line, eye) + scipy.sparse.kron(eye, line)).tocsr()


def far(n: int) -> scipy.sparse.csr_array:
    """A few entries far from the diagonal: single ones are asked for."""
    rng = np.random.default_rng(3)
    places = rng.integers(0, n, (2, n // 8))
    return (scipy.sparse.eye_array(n) + scipy.sparse.coo_array((rng.random(n // 8) + 1j, places), shape=(n, n))).tocsr()


MATRICES: dict[str, Callable[[], scipy.sparse.csr_array]] = {
    "stencil": lambda: laplacian(12),
    "dense": lambda: scipy.sparse.csr_array(np.random.default_rng(1).random((144, 144))),
    "diagonal": lambda: scipy.sparse.diags_array(np.arange(144.0)).tocsr(),
    "far": lambda: far(144),
    "empty": lambda: scipy.sparse.csr_array((144, 144)),
    "backwards": lambda: scipy.sparse.csr_array(np.eye(144)[::-1]),
}


@pytest.mark.parametrize("kind", ranks.KINDS)
@pytest.mark.parametrize("name", MATRICES)
def test_products_are_those_of_the_whole(name: str, kind: Any) -> None:
    check(MATRICES[name](), ((50, 1), (40, 53)), kind)


@pytest.mark.parametrize("rows", [((144,),), ((1,), (142,), (1,)), ((30,), (40,), (50,), (24,))])
@pytest.mark.parametrize("name", ["stencil", "far", "dense"])
def test_any_number_of_ranks(name: str, rows: tuple[tuple[int, ...], ...]) -> None:
    check(MATRICES[name](), rows, ranks.shared)


def test_large_messages_lie_in_tiles() -> None:
    n = 40_000
    A = scipy.sparse.csr_array(scipy.sparse.eye_array(n).tocsr()[::-1])
    check(A, ((20_000,), (20_000,)), ranks.shared)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_matrices(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=3))
    n = sum(map(sum, rows))
    seed = data.draw(st.integers(0, 2**32 - 1))
    density = data.draw(st.sampled_from([0.02, 0.1, 0.5]))
    A = scipy.sparse.random_array((n, n), density=density, rng=np.random.default_rng(seed)).tocsr()
    check(A, tuple(map(tuple, rows)), ranks.shared, seed)


def test_rows_that_need_nobody_read_the_vector_where_it_lies() -> None:
    blocks, firsts = blocks_of(laplacian(12)[48:96], (48,), on_device=False)
    cuts = (0, 48, 96, 144)
    found = halo.halo(*bands.occupied(blocks, firsts), cuts, 1)
    assert (found.left, found.right, found.shifted) == (12, 12, True)
    head, inner, tail = bands.bands(blocks, firsts, found, cuts, 1)
    assert [piece.rows for band in (head, inner, tail) for piece in band.pieces] == [
        slice(0, 12),
        slice(12, 36),
        slice(36, 48),
    ]
    assert (inner.left, inner.right) == (0, 0)


def test_few_entries_are_asked_for_one_by_one() -> None:
    A = far(10_000)
    blocks, firsts = blocks_of(A[:5000], (5000,), on_device=False)
    found = halo.halo(*bands.occupied(blocks, firsts), (0, 5000, 10_000), 0)
    foreign = np.unique(A[:5000].indices)
    assert found.right == (foreign >= 5000).sum() < 1000


def test_the_same_bits_every_time() -> None:
    A, x = MATRICES["dense"](), np.random.default_rng(5).random(144)

    def twice(product: Product, x: Any) -> list[Any]:
        return [product(x), product.transposed(x), product(x), product.transposed(x)]

    for kind in (ranks.shared, ranks.sockets):
        one, other, again, once_more = distributed(A, ((50,), (50,), (44,)), kind, twice, x)
        assert np.array_equal(one, again)
        assert np.array_equal(other, once_more)
