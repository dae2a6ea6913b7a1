"""Reductions of Dask arrays: NumPy's results, lazily, in one pass, the same on any number of workers."""

import pickle
import tracemalloc
from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import overspill as osp
from cases import matrix, random_array
from overspill.cluster import Cluster
from overspill.kernels import fused_numpy

FUNCTIONS = ["sum", "mean", "var", "std", "min", "max", "any", "all"]


@osp.elementwise
def wave(x: Any) -> Any:
    return np.sin(x) ** 2 + np.cos(x) * x


@osp.elementwise
def polar(x: Any, y: Any) -> tuple[Any, Any]:
    return np.hypot(x, y), np.arctan2(y, x)


def in_host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else x


def assert_like(actual: Any, expected: Any, xp: ModuleType) -> None:
    """The same kind, shape and type, and the same numbers: exactly for what is not rounded."""
    if xp is np:
        assert type(actual) is type(expected)
    actual = in_host(actual)
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    if expected.dtype.kind in "fc":
        eps = 2 * np.finfo(expected.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=32 * eps, atol=32 * eps)
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(("axis", "keepdims"), [(None, False), (None, True), (0, True), (-1, False), ((), False)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "int8", "uint64", "bool"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_results_are_numpys(xp: ModuleType, function: str, dtype: str, axis: Any, keepdims: bool) -> None:
    values = matrix((20, 30), dtype)
    x = da.from_array(xp.asarray(values), chunks=((7, 0, 13), (12, 18)))
    y = getattr(osp, function)(x, axis, keepdims=keepdims)
    # Our sums are wider than NumPy's of float16.
    exact = values.astype("f8") if dtype == "float16" else values
    expected = getattr(np, function)(exact, axis=axis, keepdims=keepdims)
    if dtype == "float16" and expected.dtype != bool:
        expected = expected.astype("f2")
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    assert type(y._meta) is xp.ndarray
    assert_like(y.compute(scheduler="synchronous"), expected, xp)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int64", "bool"])
@pytest.mark.parametrize("function", ["argmin", "argmax"])
def test_places_are_numpys(xp: ModuleType, function: str, dtype: str, axis: Any) -> None:
    values = matrix((20, 30), dtype)
    values[values == values[7, 7]] = values[3, 3]
    if dtype[0] in "fc":
        values[5, 22] = values[9, 11] = values[17, 11] = np.nan
    x = da.from_array(xp.asarray(values), chunks=((7, 0, 13), (12, 18)))
    for keepdims in (False, True):
        expected = getattr(np, function)(values, axis=axis, keepdims=keepdims)
        actual = getattr(osp, function)(x, axis, keepdims=keepdims).compute(scheduler="synchronous")
        assert_like(actual, expected, xp)


@pytest.mark.parametrize("axis", [None, 1, (0, 1)])
@pytest.mark.parametrize("ord", [1, 2, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128", "int64"])
def test_norms_are_numpys(xp: ModuleType, dtype: str, ord: float, axis: Any) -> None:
    values = matrix((20, 30), dtype)
    x = da.from_array(xp.asarray(values), chunks=(7, 12))
    inexact = values.astype("f8") if dtype == "int64" else values
    expected = np.linalg.vector_norm(inexact, ord=ord, axis=axis, keepdims=True)
    assert_like(osp.norm(x, ord, axis, keepdims=True).compute(scheduler="synchronous"), expected, xp)


def test_norms_of_the_smallest_numbers() -> None:
    assert osp.norm(np.array([-128, 3], "i1"), np.inf).compute() == 128
    tiny = np.float32(1e-44)
    x = da.full(10_000, tiny * (1 + 1j), dtype="c8", chunks=3000)
    for ord, expected in ((2, 100 * float(tiny) * 2**0.5), (1, 10_000 * float(tiny) * 2**0.5)):
        assert osp.norm(x, ord).compute() == np.float32(expected)


def test_types_that_are_asked_for() -> None:
    x = da.from_array(matrix((20, 30), "float32"), chunks=7)
    assert osp.sum(x, dtype="f8").compute() == np.sum(x.compute().astype("f8"))
    assert osp.mean(da.arange(10, chunks=3), dtype="f4").compute().dtype == np.float32
    assert osp.sum(da.full(300, 1, dtype="i8", chunks=7), dtype="i1").compute() == np.int8(300 - 256)
    assert osp.sum(da.full(300, 0.5, chunks=7), dtype=bool).compute() is np.True_
    swapped = x.astype(">f4")
    for y in (osp.mean(swapped, 0), osp.std(swapped, 0), osp.norm(swapped, axis=0), osp.max(swapped, 0)):
        assert y.dtype.isnative
        assert y.compute().dtype == y.dtype
    assert osp.var(x, dtype="f8", ddof=1).compute() == pytest.approx(np.var(x.compute(), dtype="f8", ddof=1), rel=1e-14)


def test_what_is_no_number_is_handed_on() -> None:
    x = np.array([1.0, np.nan, -np.inf, 3.0])
    chunked = da.from_array(x, chunks=1)
    with np.errstate(invalid="ignore"):
        for function in FUNCTIONS:
            actual = getattr(osp, function)(chunked).compute(scheduler="synchronous")
            np.testing.assert_array_equal(actual, getattr(np, function)(x))
    assert osp.norm(da.from_array([np.inf, 1.0], chunks=1)).compute() == np.inf


def test_arrays_without_elements_and_without_dimensions() -> None:
    empty = da.zeros((0, 3), chunks=2)
    for function in ("sum", "any", "all"):
        assert_like(getattr(osp, function)(empty, 0).compute(), getattr(np, function)(np.zeros((0, 3)), axis=0), np)
    assert np.isnan(osp.mean(empty).compute())
    assert np.isnan(osp.var(empty, 0).compute()).all()
    assert np.isnan(osp.var(da.ones(3), ddof=3).compute())
    assert osp.norm(empty, np.inf).compute() == 0
    assert osp.min(empty, 1).compute().shape == (0,)
    huge = da.full(4, 1e200, chunks=((2, 0, 2),))
    assert osp.var(huge).compute() == osp.var(huge * 1j).compute() == 0
    for function in ("min", "max", "argmin", "argmax"):
        with pytest.raises(osp.ArrayError, match=rf"{function} of no elements is nothing: x has shape \(0, 3\)"):
            getattr(osp, function)(empty, 0)
        assert getattr(osp, function)(da.from_array(np.array(7.0))).compute() == getattr(np, function)(7.0)


def test_a_pass_has_one_task_a_chunk_and_a_tree() -> None:
    x = da.ones((80, 80), chunks=20)
    for y in (osp.mean(wave(x)), osp.std(wave(x)), osp.argmax(wave(x)), osp.mean(wave(x) + 1)):
        (optimized,) = dask.optimize(y)
        assert len(optimized.dask) == 16 + 1
    for width, merges in ((1, 4 + 1), (600, 63 + 4 + 1)):
        many = da.ones((1000, width), chunks=(1, width))
        (optimized,) = dask.optimize(osp.sum(wave(many), 0))
        assert len(optimized.dask) == 1000 + merges
        assert sum(len(pickle.dumps(task)) for task in optimized.dask.values()) < 4e6  # not all chunks' sizes in each
    assert (osp.sum(many, 0).compute(scheduler="synchronous") == 1000).all()
    plan = osp.plan(osp.mean(wave(x)))
    assert (plan.persisted.held_nbytes, plan.unsized_tasks) == ((16 + 1) * 8, 0)


def test_chunks_are_never_whole_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("made")

    x = np.random.default_rng(0).random(2**22)
    y = wave(da.from_array(x, chunks=2**21))
    results = [osp.mean(y), osp.std(y), osp.norm(y), osp.argmin(y), osp.any(y), osp.histogram(y, 10, (0, 2))[0]]
    monkeypatch.setattr(fused_numpy, "evaluate", refuse)
    with pytest.raises(AssertionError, match="made"):
        y.compute(scheduler="synchronous")
    dask.compute(results, scheduler="synchronous")
    tracemalloc.start()
    try:
        dask.compute(results, scheduler="synchronous")
        _, peak_nbytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_nbytes < y.nbytes / 14, "blocks of some 2 MB in all, whatever the chunks"


def test_several_results_and_inputs_of_other_chunks_and_shapes() -> None:
    x, y = random_array(((30, 20), (40,))), random_array(((25, 25), (10, 30))) + 1
    radius, angle = polar(x, y)
    assert osp.max(radius).compute() == np.hypot(x.compute(), y.compute()).max()
    np.testing.assert_array_equal(osp.argmin(angle, 0).compute(), np.arctan2(y.compute(), x.compute()).argmin(axis=0))
    row = da.linspace(0, 1, 40, chunks=15)
    product = osp.elementwise(lambda a, b, c: a * b + c)(x, row, np.float64(2))
    np.testing.assert_allclose(osp.sum(product, 0).compute(), (x * row + 2).sum(axis=0).compute(), rtol=1e-13)


def test_what_becomes_of_an_array_counts_and_not_what_it_was_made_of() -> None:
    x = da.from_array(np.random.default_rng(0).random((20, 30)), chunks=(7, 12))
    y = wave(x)
    values = y.compute()
    for other, expected in (
        (y[3:, ::2], values[3:, ::2]),
        (y.T, values.T),
        (y.rechunk(5), values),
        (y.persist(), values),
        (pickle.loads(pickle.dumps(y)), values),
        (y.astype("f4"), values.astype("f4")),
    ):
        np.testing.assert_allclose(osp.sum(other, 0).compute(), expected.sum(axis=0), rtol=1e-6)
    x[1] = 50
    np.testing.assert_allclose(osp.sum(y, 0).compute(), values.sum(axis=0), rtol=1e-13)
    y[0] = 100
    values[0] = 100
    assert osp.max(y).compute() == 100
    np.testing.assert_allclose(osp.mean(y).compute(), values.mean(), rtol=1e-14)


def test_functions_that_cannot_be_fused_are_reduced_all_the_same() -> None:
    x = da.from_array(np.linspace(-2, 2, 100), chunks=30)
    with pytest.warns(osp.FusionWarning):
        y = osp.elementwise(lambda x: np.divmod(x, 0.3)[1])(x)
    np.testing.assert_allclose(osp.sum(y).compute(), (x.compute() % 0.3).sum(), rtol=1e-14)


def test_nothing_is_computed() -> None:
    def explode(block: object) -> object:
        raise AssertionError("computed")

    x = da.ones((10, 10)).map_blocks(explode, dtype=float, meta=np.empty((0, 0)))
    for function in (*FUNCTIONS, "argmin", "argmax", "norm"):
        getattr(osp, function)(wave(x))
    osp.histogram(x, 10, (0, 1))


def test_names_tell_arrays_axes_and_functions_apart() -> None:
    x = da.ones((10, 10), chunks=5)
    names = {
        y.name
        for y in (
            *(getattr(osp, function)(x) for function in (*FUNCTIONS, "argmin", "argmax", "norm")),
            osp.norm(x, 1),
            osp.sum(x, 0),
            osp.sum(x + 1),
            osp.sum(wave(x)),
            osp.var(x, ddof=1),
            osp.mean(x, dtype="f4"),
        )
    }
    assert len(names) == 17
    assert osp.sum(x).name == osp.sum(x).name


def awkward() -> list[da.Array]:
    """Sums whose last bits tell the order of the additions, of chunks that lie in memory in different ways."""
    x = random_array(((60, 20, 41), (100, 50, 77, 30)), seed=1)
    function = osp.elementwise(lambda x: np.exp(8 * x) * np.sin(1e3 * x))
    return [
        reduction(y, axis=axis)
        for y in (function(x), function(x[::-1, ::2]), x.T)
        for axis in (None, 0, 1)
        for reduction in (osp.sum, osp.std, osp.norm)
    ]


def test_workers_change_no_bit(two_workers: Cluster) -> None:
    def bits(scheduler: Any) -> list[bytes]:
        return [np.asarray(result).tobytes() for result in dask.compute(*awkward(), scheduler=scheduler)]

    expected = bits("synchronous")
    for scheduler in ("threads", two_workers.client, two_workers.client):
        assert bits(scheduler) == expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint64", "bool"])
@pytest.mark.parametrize(
    ("bins", "limits"),
    [
        (7, (-1.5, 2.5)),
        (1000, (-3, 3)),
        ([-2, -1, 0, 0.5, 3], None),
        ([0, 1, 1, 200], (0, 9)),
        ([-np.inf, 0, np.inf], None),
        ([0, np.inf, np.inf], None),
    ],
)
def test_histograms_are_numpys(xp: ModuleType, dtype: str, bins: Any, limits: Any) -> None:
    values = matrix((50, 60), dtype)
    if dtype[0] == "f":
        values[3, 4], values[5, 6] = np.nan, np.inf
        values[7:9] = 0.5
    x = da.from_array(xp.asarray(values), chunks=((20, 0, 30), 25))
    counts, edges = osp.histogram(x, bins, limits)
    plain = values.astype("u1") if dtype == "bool" else values
    expected, expected_edges = np.histogram(plain, bins, limits)
    np.testing.assert_array_equal(edges, expected_edges)
    assert edges.dtype == expected_edges.dtype
    assert (counts.shape, type(counts._meta)) == (expected.shape, xp.ndarray)
    assert_like(counts.compute(scheduler="synchronous"), expected, xp)


def test_histograms_of_functions_and_of_nothing() -> None:
    x = da.from_array(np.random.default_rng(0).random((40, 50)), chunks=20)
    counts, edges = osp.histogram(wave(x), bins=20, range=(0, 2))
    np.testing.assert_array_equal(counts.compute(), np.histogram(wave(x).compute(), edges)[0])
    assert osp.histogram(da.zeros((0, 3)), 4, (0, 1))[0].compute().tolist() == [0, 0, 0, 0]
    assert osp.histogram(da.from_array(np.array(0.3)), 4, (0, 1))[0].compute().tolist() == [0, 1, 0, 0]


def test_bad_input_is_refused() -> None:
    x = da.ones((10, 10), chunks=5)
    with pytest.raises(osp.ArrayError, match=r"sum of an array of 2 dimensions cannot take axis=2: .*out of bounds"):
        osp.sum(x, 2)
    with pytest.raises(osp.ArrayError, match=r"mean .* axis=\(0, -2\): repeated axis"):
        osp.mean(x, (0, -2))
    with pytest.raises(osp.ArrayError, match="argmin takes one axis, or None for all"):
        osp.argmin(x, (0, 1))
    with pytest.raises(osp.ArrayError, match=r"argmax takes one axis, or None for all, not \(\)"):
        osp.argmax(x, ())
    with pytest.raises(osp.ArrayError, match=r"std needs the sizes of all chunks: call x.compute_chunk_sizes\(\)"):
        osp.std(x[x > 0])
    with pytest.raises(osp.ArrayError, match="max takes chunks .* not of MaskedArray"):
        osp.max(da.ma.masked_greater(x, 0.5))
    with pytest.raises(osp.DTypeError, match=r"any cannot reduce elements of type object: cast with x.astype\(\)"):
        osp.any(da.from_array(np.array([1, "a"], object), chunks=1))
    with pytest.raises(osp.DTypeError, match="sum of complex128 elements is complex, not float64"):
        osp.sum(x * 1j, dtype=float)
    with pytest.raises(osp.DTypeError, match="mean is a number, not object: pass a numeric dtype"):
        osp.mean(x, dtype=object)
    for dtype in (complex, "M8[s]"):
        with pytest.raises(osp.DTypeError, match="var is real"):
            osp.var(x, dtype=dtype)
    with pytest.raises(osp.ArrayError, match="norm has ord=1, 2 and inf, not 3"):
        osp.norm(x, 3)
    with pytest.raises(osp.ArrayError, match=r"histogram of a number of bins needs range=\(low, high\)"):
        osp.histogram(x, 10)
    for limits in (5, (0,), (1, 0)):
        with pytest.raises(osp.ArrayError, match=r"histogram cannot take bins=10 and range="):
            osp.histogram(x, 10, limits)
    with pytest.raises(osp.ArrayError, match=r"histogram cannot take bins=\[2, 1\]"):
        osp.histogram(x, [2, 1])
    with pytest.raises(osp.DTypeError, match="histogram cannot order elements of type complex128"):
        osp.histogram(x * 1j, 10, (0, 1))


def test_sizes_that_are_found_out_serve() -> None:
    x = da.from_array(np.arange(-5.0, 5.0), chunks=3)
    positive = wave(x[x > 0])
    positive.compute_chunk_sizes()
    assert osp.sum(positive).compute() == pytest.approx(wave(np.arange(1.0, 5.0)).sum())


@pytest.mark.gpu
def test_up_and_through_in_one_task_a_chunk() -> None:
    import cupy

    x = osp.to_host(random_array(((300, 200), (400,))))
    y = osp.mean(wave(osp.to_device(x)))
    (optimized,) = dask.optimize(y)
    assert len(optimized.dask) == len(dask.optimize(osp.mean(x))[0].dask)
    result = y.compute()
    assert isinstance(result, cupy.ndarray)
    assert result.shape == ()
    np.testing.assert_allclose(result.get(), wave(x).mean().compute(), rtol=1e-13)
