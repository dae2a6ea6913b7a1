from typing import Any

import dask.array as da
import numpy as np
import pytest

import overspill as osp
from cases import random_array
from overspill.errors import ArrayError, DTypeError
from overspill.ops.arguments import as_array, common_dtype, tile_sizes


def test_a_dask_array_is_taken_as_it_is() -> None:
    x = da.ones((3, 3))
    assert as_array(x) is x


@pytest.mark.parametrize("x", [np.ones((3, 3)), [[1.0, 2], [3, 4]], 2.0, np.float32(1)])
def test_other_arrays_become_one(x: Any) -> None:
    made = as_array(x)
    np.testing.assert_array_equal(made.compute(), x)
    assert made.dtype == np.asarray(x).dtype


@pytest.mark.parametrize("x", [np.full(3, None), ["a", "b"], [None], np.zeros(3, [("a", "f4")])])
def test_objects_and_records_are_refused_before_dask_sees_them(x: Any) -> None:
    with pytest.raises(DTypeError, match="cannot multiply elements of type"):
        as_array(x)


def test_the_common_type_is_in_this_machines_byte_order() -> None:
    x = da.ones((3, 3), dtype=">f8")
    assert common_dtype(x, x) == np.dtype("float64")
    assert common_dtype(x, x).isnative


def test_tile_sizes_leave_out_empty_tiles_but_not_empty_axes() -> None:
    assert tile_sizes(((3, 0, 2), 4), (5, 8), np.dtype(float)) == ((3, 2), (4, 4))
    assert tile_sizes(4, (0, 8), np.dtype(float)) == ((0,), (4, 4))


def test_sizes_must_not_be_negative() -> None:
    with pytest.raises(ArrayError, match="negative"):
        tile_sizes(((-5, 15), 10), (10, 10), np.dtype(float))


@pytest.mark.parametrize(
    ("a", "b", "kind", "message"),
    [
        (np.ones((3, 4)), np.ones((5, 6)), osp.ArrayError, r"\(3, 4\) and \(5, 6\) do not match.* 4 columns .* 5 rows"),
        (np.ones(3), np.ones((4, 2)), osp.ArrayError, "do not match"),
        (np.ones((2, 3, 3)), np.ones((3, 3)), osp.ArrayError, "a has 3 dimensions"),
        (np.ones((3, 3)), np.float64(2), osp.ArrayError, "b has 0 dimensions"),
        (np.ones((3, 3)), np.full((3, 3), "x", object), osp.DTypeError, r"object: cast with x\.astype"),
        (np.ones((3, 3)), np.zeros((3, 3), [("re", "f4"), ("im", "f4")]), osp.DTypeError, "cannot multiply"),
        (np.full((3, 3), "x"), np.ones((3, 3)), osp.DTypeError, "cannot multiply"),
        (np.ones((3, 3), "datetime64[s]"), np.ones((3, 3)), osp.DTypeError, "datetime64"),
        (np.ones((3, 3), np.longdouble), np.ones((3, 3)), osp.DTypeError, "cannot multiply"),
    ],
)
def test_operands_it_cannot_take_are_named(a: Any, b: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        osp.matmul(a, b)
    assert "\n" not in str(caught.value)


def test_unknown_chunk_sizes_are_named_with_the_way_out() -> None:
    x = da.ones((10, 10), chunks=5)
    unknown = x[x[:, 0] > 0]
    with pytest.raises(osp.ArrayError, match=r"b has chunks of unknown size: call b\.compute_chunk_sizes\(\) first"):
        osp.matmul(x, unknown)
    unknown.compute_chunk_sizes()
    assert osp.matmul(x, unknown).sum().compute() == 1000


def test_chunks_that_are_no_plain_arrays_are_refused() -> None:
    masked = da.ma.masked_greater(da.ones((10, 10), chunks=5), 0)
    with pytest.raises(osp.ArrayError, match=r"a has MaskedArray: convert them with a\.map_blocks"):
        osp.matmul(masked, masked)


@pytest.mark.parametrize("chunks", [((3, 3), (10,)), (5, 5, 5), "many", (2.5, 3), ((-5, 15), 10)])
def test_tiles_that_cannot_cut_the_result_are_named(chunks: Any) -> None:
    with pytest.raises(osp.ArrayError, match=r"chunks=.* cannot cut a result of shape \(10, 10\)"):
        osp.matmul(da.ones((10, 10)), da.ones((10, 10)), chunks=chunks)


@pytest.mark.parametrize("keywords", [{"memory": "lots"}, {"memory": -1}, {"residence": "gpu"}, {"device_memory": "x"}])
def test_arguments_that_cannot_be_used_are_named(keywords: dict[str, Any]) -> None:
    with pytest.raises(osp.UsageError) as caught:
        osp.matmul(da.ones((10, 10)), da.ones((10, 10)), **keywords)
    assert repr(next(iter(keywords.values()))) in str(caught.value)


@pytest.mark.parametrize("memory", [0, "1kiB", "100kiB"])
def test_a_budget_too_small_is_refused_with_both_numbers(memory: Any) -> None:
    a = random_array(((300,) * 4, (300,) * 4))
    with pytest.raises(osp.MemoryBudgetError, match=r"tile budget \S+ \w+ cannot hold .*\(\S+ MiB\): raise memory="):
        osp.matmul(a, a, memory=memory)


def test_a_result_on_a_gpu_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overspill.backend.gpus", lambda: ())
    with pytest.raises(osp.ClusterError, match="no GPU|none here"):
        osp.matmul(da.ones((10, 10)), da.ones((10, 10)), residence="device")
