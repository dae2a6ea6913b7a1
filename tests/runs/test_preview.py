"""Results that share a product count it once."""

import dask.array as da

import overspill as osp
from cases import resources
from overspill.planning.resources import using
from overspill.runs.preview import preview


def test_shared_product_counts_once() -> None:
    a = da.random.default_rng(0).random((60, 60), chunks=20)
    c = osp.matmul(a, a)
    seen = preview({"C": c, "total": c.sum()})
    assert seen.plan.flop == osp.plan(c).flop == 2 * 60**3
    assert [(result.name, result.shape, result.blocks) for result in seen.results] == [
        ("C", (60, 60), c.npartitions),
        ("total", (), 1),
    ]
    assert seen.blocks == c.npartitions + 1
    assert seen.to_dict()["flop"] == seen.plan.flop


def test_different_products_add_up() -> None:
    a = da.random.default_rng(0).random((60, 60), chunks=20)
    b = da.random.default_rng(1).random((60, 60), chunks=20)
    assert preview({"x": osp.matmul(a, b), "y": osp.matmul(b, a)}).plan.flop == 4 * 60**3


def test_without_products() -> None:
    seen = preview({"x": da.ones((4, 4), chunks=2)})
    assert (seen.plan.flop, seen.plan.products, seen.blocks) == (0, (), 4)


def test_results_that_share_nothing_count_all_tasks() -> None:
    x, y = da.ones((4, 4), chunks=2), da.zeros((6, 6), chunks=2)
    with using(resources()):
        seen = preview({"x": x, "y": y})
    assert seen.plan.tasks == osp.plan(x).tasks + osp.plan(y).tasks
    assert seen.plan.saved.held_nbytes < seen.plan.persisted.held_nbytes == x.nbytes + y.nbytes
