from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import scipy.sparse

import overspill as osp
from cases import resources
from overspill.planning.grid import Piece
from overspill.planning.resources import using
from overspill.planning.sparse import BlockProduct, block_nbytes
from overspill.sparse import Block, CSRMatrix, of_function


def band(n: int, blocks: int) -> CSRMatrix:
    offsets = (-2, -1, 0, 1, 2)
    diagonals = [np.ones(n - abs(k)) for k in offsets]
    return CSRMatrix.from_scipy(scipy.sparse.diags_array(diagonals, offsets=offsets), blocks=blocks)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("columns", [None, 3])
def test_a_product_tells_entries_bytes_and_halo(columns: int | None, transposed: bool) -> None:
    n, blocks = 3000, 3
    A = band(n, blocks)
    x = da.ones((n,) if columns is None else (n, columns), chunks=(1000,) if columns is None else (1000, columns))
    with using(resources(workers=2)):
        plan = osp.plan((A.T if transposed else A) @ x)
    (product,) = plan.sparse_products
    assert (product.shape, product.tasks) == ((n, n), blocks)
    assert product.nnz == A.nnz == 5 * n - 6
    assert product.matrix_nbytes == A.nbytes == A.nnz * 12 + (n + blocks) * 4
    assert product.halo == (2 + 4 + 2) * (columns or 1)
    assert product.halo_nbytes == 8 * product.halo
    assert product.predicted_s > 0
    assert plan.unsized_tasks == 0
    text = str(plan)
    assert f"{n} × {n} by a vector in {blocks} tasks: {A.nnz} entries" in text
    assert plan.to_dict()["sparse_products"][0]["halo"] == product.halo


def test_only_what_is_needed_is_planned() -> None:
    A = band(3000, 3)
    y = A @ da.ones(3000, chunks=1000)
    (product,) = osp.plan(y[:5]).sparse_products
    assert (product.tasks, product.nnz) == (1, A.blocks[0].nnz)
    assert osp.plan(da.ones(5)).sparse_products == ()


def test_entries_that_are_not_counted_are_not_guessed() -> None:
    A = band(3000, 3)
    plan = osp.plan((A + A) @ da.ones(3000, chunks=1000))
    (product,) = plan.sparse_products
    assert (product.nnz, product.matrix_nbytes, product.halo) == (None, None, 8)
    assert "entries not counted yet" in str(plan)


def test_large_matrices_are_bound_by_memory_and_twice_as_large_take_twice_as_long() -> None:
    def product_s(nnz: int) -> float:
        blocks = [Block(2**22, (0, 2**24), nnz // 4)] * 4
        A = of_function(max, [(1, 2)] * 4, name="made-up", shape=(2**24, 2**24), dtype=float, blocks=blocks)
        (product,) = osp.plan(A @ da.ones(2**24, chunks=2**22)).sparse_products
        assert product.bound in ("host memory", "device memory")
        return product.predicted_s

    with using(resources(workers=4)):
        assert product_s(2**32) / product_s(2**31) == pytest.approx(2, rel=0.1)


def test_a_block_that_is_brought_up_counts_on_the_link_and_on_the_device() -> None:
    nnz, n = 10**6, 10**5
    one = BlockProduct((Piece(0, 0, n, 0),), n, n, (), 0, nnz, "f", 8, block_nbytes(n, n, nnz, 8), streamed=False)
    up = replace(one, streamed=True)
    assert (one.scratch_nbytes, up.scratch_nbytes) == (0, one.matrix_nbytes + 8 * n)
    assert one.work(on_device=True).uploaded_nbytes == 0
    assert up.work(on_device=True).uploaded_nbytes == one.matrix_nbytes
    assert up.work(on_device=True).device_nbytes == one.work(on_device=True).device_nbytes
    assert one.work(on_device=False).host_nbytes == one.matrix_nbytes + (2 + 2) * 8 * n  # copied into a tile
    in_pieces = replace(one, pieces=(Piece(0, 0, 5, 0), Piece(1, 0, n - 5, 5)))
    assert in_pieces.scratch_nbytes == 8 * n
    assert in_pieces.work(on_device=False).host_nbytes == one.work(on_device=False).host_nbytes + 2 * 8 * n


def test_what_blocks_take_is_what_they_are() -> None:
    A = CSRMatrix.from_scipy(scipy.sparse.random_array((100, 200), density=0.1, rng=0), blocks=3)
    assert A.nbytes == sum(block_nbytes(block.rows, block.width, block.nnz or 0, 8) for block in A.blocks)
    assert block_nbytes(10, 10, 2**31, 8) == 2**31 * 16 + 11 * 8
