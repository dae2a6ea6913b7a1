"""Reductions of expressions in one pass, against NumPy on whole arrays; one body for NumPy and CuPy."""

import math
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cases import matrix
from overspill import backend
from overspill.kernels import fused_numpy, reduction_numpy, squares
from overspill.kernels.expression import Expression, identity
from overspill.kernels.folds import Fold
from overspill.kernels.moments import Moments
from overspill.kernels.places import Place
from overspill.kernels.reduction import Box, Parts, Reduction, fold, merged, unstacked
from overspill.kernels.squares import Squares
from overspill.kernels.tracing import Elements, trace

EPS = 2.0**-52
F8, C16, I8 = np.dtype("f8"), np.dtype("c16"), np.dtype("i8")

AXES = [
    ((), ()),
    ((7,), (0,)),
    ((40, 50), (0, 1)),
    ((40, 50), (0,)),
    ((40, 50), (1,)),
    ((9, 8, 7), (0, 2)),
    ((3, 4), ()),
]


def reduced(xp: ModuleType, reduction: Reduction, expression: Expression, axes: tuple[int, ...], *arrays: Any) -> Parts:
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    box = Box(shape, (0,) * len(shape), shape)
    if xp is np:
        records = reduction_numpy.reduce(reduction, expression, axes, arrays, box)
    else:
        from overspill.kernels import reduction_cuda

        records = reduction_cuda.reduce(reduction, expression, axes, [xp.asarray(x) for x in arrays], box).get()
    assert records.dtype == reduction.dtype
    assert records.shape == (*(1 if axis in axes else size for axis, size in enumerate(shape)), reduction.parts)
    return unstacked(reduction, records)


def of_itself(xp: ModuleType, reduction: Reduction, x: NDArray[Any], axes: tuple[int, ...] | None = None) -> Parts:
    every = tuple(range(x.ndim))
    return reduced(xp, reduction, identity(x.dtype), every if axes is None else axes, x)


def by_numpy(function: str, x: NDArray[Any], axes: tuple[int, ...]) -> Any:
    return getattr(np, function).reduce(x, axis=axes, keepdims=True)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_numpy, "BLOCK_NBYTES", 2**10)


@pytest.mark.parametrize(("shape", "axes"), AXES)
@pytest.mark.parametrize("function", ["add", "minimum", "maximum"])
@pytest.mark.parametrize("dtype", ["f8", "c16", "i8", "u8"])
def test_folds(xp: ModuleType, function: Any, dtype: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.asarray(matrix(shape, dtype))
    (actual,) = of_itself(xp, Fold(function, x.dtype), x, axes)
    if function == "add" and x.dtype.kind in "fc":
        np.testing.assert_allclose(actual, by_numpy(function, x, axes), rtol=1e-12, atol=1e-12)
    else:
        np.testing.assert_array_equal(actual, by_numpy(function, x, axes))


@pytest.mark.parametrize(("shape", "axes"), AXES)
@pytest.mark.parametrize("function", ["logical_or", "logical_and"])
def test_truth(xp: ModuleType, function: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(0).random(shape) > 0.9) ^ (function == "logical_and")
    (actual,) = of_itself(xp, Fold(function, x.dtype), x, axes)
    np.testing.assert_array_equal(actual, by_numpy(function, x, axes))


@pytest.mark.parametrize(("shape", "axes"), AXES)
@pytest.mark.parametrize("dtype", ["f8", "c16"])
def test_moments(xp: ModuleType, dtype: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.asarray(matrix(shape, dtype))
    number, mean, squared = of_itself(xp, Moments(x.dtype), x, axes)
    assert np.all(number == math.prod(shape[axis] for axis in axes))
    np.testing.assert_allclose(mean, x.mean(axis=axes, keepdims=True), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(squared.real / number.real, x.var(axis=axes, keepdims=True), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("function", ["minimum", "maximum"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "i2", "u8"])
def test_places(xp: ModuleType, function: Any, dtype: str, axes: tuple[int, ...]) -> None:
    x = (matrix((40, 50), dtype) * 2).round() if dtype[0] in "fc" else matrix((40, 50), dtype) // 1000 * 1000
    if dtype[0] in "fc":
        x[17, 13] = x[17, 20] = x[30, 13] = np.nan
    wide = np.result_type(x.dtype, {"f": "f8", "c": "c16", "i": "i8", "u": "u8"}[dtype[0]])
    value, place = of_itself(xp, Place(function, wide), x, axes)
    find = np.argmin if function == "minimum" else np.argmax
    axis = None if len(axes) == 2 else axes[0]
    np.testing.assert_array_equal(place, find(x, axis=axis, keepdims=True))
    np.testing.assert_array_equal(
        value,
        np.take_along_axis(x, find(x, axis=axis, keepdims=True), axis)
        if axis is not None
        else x.reshape(-1)[find(x)].reshape(1, 1),
    )


@pytest.mark.parametrize(
    ("values", "root"),
    [
        ([3.0, 4.0], 5.0),
        ([3e200, 4e200], 5e200),
        ([3e-200, 4e-200], 5e-200),
        ([3e-310, 4e-310], 5e-310),
        ([3e-200, 4.0], 4.0),
        ([3e-200, 4e200], 4e200),
        ([0.0, 0.0], 0.0),
        ([np.inf, 1e-300], np.inf),
        ([np.nan, 1e300], np.nan),
        ([1e300] * 10_000, 1e302),
        ([1e-300] * 10_000, 1e-298),
        ([2.0**500] * 1024, 2.0**505),
    ],
)
def test_squares_have_a_root_where_numbers_have(xp: ModuleType, values: list[float], root: float) -> None:
    actual = squares.root(np, of_itself(xp, Squares(), np.array(values)))
    np.testing.assert_allclose(actual, [root], rtol=1e-14)


def test_squares_of_rows_of_every_size(xp: ModuleType) -> None:
    x = np.abs(matrix((6, 300), "f8")) * 10.0 ** np.array([-305, -160, 0, 1, 160, 300])[:, None]
    expected = [[float(_root(sum(Fraction(v) ** 2 for v in row)))] for row in x]
    np.testing.assert_allclose(squares.root(np, of_itself(xp, Squares(), x, (1,))), expected, rtol=1e-14)


def _root(x: Fraction) -> Fraction:
    scale = 2**2400
    return Fraction(math.isqrt(int(x * scale * scale)), scale)


def wave(x: Any, y: Any) -> Any:
    return np.sin(x) ** 2 + np.cos(y) * x


def reductions_and_axes() -> list[tuple[Reduction, tuple[int, ...]]]:
    anywhere: list[Reduction] = [Fold("add", F8), Fold("minimum", F8), Moments(F8), Squares()]
    along: list[Reduction] = [*anywhere, Place("maximum", F8)]
    return [(each, ()) for each in anywhere] + [(each, axes) for each in along for axes in ((0,), (1,), (0, 1))]


@pytest.mark.parametrize(("reduction", "axes"), reductions_and_axes())
@pytest.mark.parametrize("shapes", [((40, 50), (40, 50)), ((40, 1), (50,)), ((40, 50), ()), ((1, 1), (1, 1))])
def test_expressions(xp: ModuleType, reduction: Any, shapes: Any, axes: tuple[int, ...]) -> None:
    x, y = (np.asarray(np.random.default_rng(seed).random(shape)) for seed, shape in enumerate(shapes))
    expression = trace(lambda x, y: abs(wave(x, y)), [Elements(F8), Elements(F8)], {})
    whole = np.ascontiguousarray(abs(wave(*np.broadcast_arrays(x, y))))
    for actual, expected in zip(
        reduced(xp, reduction, expression, axes, x, y), of_itself(np, reduction, whole, axes), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 65, 511, 513, 5_000, 16_384, 40_000, 100_003])
@pytest.mark.parametrize("reduction", [Fold("add", F8), Fold("maximum", F8), Moments(F8), Place("minimum", F8)])
def test_any_number_of_elements(xp: ModuleType, reduction: Any, size: int) -> None:
    x = matrix((size,), "f8", seed=size)
    for actual, expected in zip(of_itself(xp, reduction, x), reduction.of_block(x, (0,)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4)])
@pytest.mark.parametrize(
    "reduction", [Fold("add", I8), Fold("minimum", I8), Moments(F8), Squares(), Place("maximum", C16)]
)
def test_no_elements(xp: ModuleType, reduction: Any, shape: tuple[int, ...]) -> None:
    x = np.empty(shape, reduction.dtype)
    for actual, nothing in zip(of_itself(xp, reduction, x), reduction.empty(), strict=True):
        np.testing.assert_array_equal(actual, np.full((1,) * len(shape), nothing))
    one = np.asarray(reduction.dtype.type(5)).reshape((1,) * len(shape))
    for merge in (lambda a, b: reduction.merge(np, a, b), lambda a, b: reduction.merge(np, b, a)):
        record = reduction.located(reduction.of_block(one, (0,)), Box((1,), (0,), (1,)), (0,))
        for actual, alone in zip(merge(of_itself(xp, reduction, x), record), record, strict=True):
            np.testing.assert_array_equal(actual, alone)


def adversaries() -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    large = rng.standard_normal(30_000) * 10.0 ** rng.integers(0, 16, 30_000)
    return {
        "cancelling": rng.permutation(np.concatenate([large, -large, rng.standard_normal(1001)])),
        "ascending": np.sort(rng.random(60_000) * 10.0 ** rng.integers(-10, 10, 60_000)),
        "one and many tiny": np.concatenate([[1.0], np.full(60_000, 2.0**-53)]),
        "alternating": np.tile([1.0, 1e16, -1.0, -1e16], 15_000),
        "tenths": np.full(60_001, 0.1),
    }


@pytest.mark.parametrize("name", adversaries())
@pytest.mark.parametrize("view", [lambda x: x, lambda x: x.reshape(-1, 1), lambda x: x.reshape(1, 1, -1)])
@pytest.mark.parametrize("block_nbytes", [2**10, 2**18])
def test_errors_of_sums_keep_to_their_bound(
    xp: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, view: Callable[[Any], Any], block_nbytes: int
) -> None:
    monkeypatch.setattr(fused_numpy, "BLOCK_NBYTES", block_nbytes)
    x = adversaries()[name]
    (actual,) = of_itself(xp, Fold("add", F8), view(x))
    assert abs(actual.item() - math.fsum(x)) <= 64 * EPS * math.fsum(abs(x))


@pytest.mark.parametrize("name", adversaries())
def test_errors_of_sums_along_an_axis_keep_to_their_bound(xp: ModuleType, name: str) -> None:
    x = adversaries()[name]
    columns = np.stack([x, x[::-1], 2 * x], axis=1)
    (actual,) = of_itself(xp, Fold("add", F8), columns, (0,))
    for column, total in zip(columns.T, actual[0], strict=True):
        assert abs(float(total) - math.fsum(column)) <= 64 * EPS * math.fsum(abs(column))


@pytest.mark.parametrize("mean", [0.0, 1e4, 1e8, -1e12])
def test_variance_bears_a_large_mean(xp: ModuleType, mean: float) -> None:
    x = mean + np.random.default_rng(0).standard_normal(5001)
    exact = [Fraction(value) for value in x]
    center = sum(exact) / len(exact)
    variance = sum((value - center) ** 2 for value in exact) / len(exact)
    number, _, squared = of_itself(xp, Moments(F8), x)
    bound = 64 * EPS * math.sqrt(1 + float(center**2 / variance))
    assert abs(Fraction((squared / number).item()) / variance - 1) <= bound


@given(size=st.integers(1, 200), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_pairs_merge_everything_once_and_in_few_steps(size: int, seed: int) -> None:
    """Records are (sum, number of merges behind it)."""

    def merge(a: Parts, b: Parts) -> Parts:
        return a[0] + b[0], np.maximum(a[1], b[1]) + 1

    x = np.random.default_rng(seed).integers(0, 2**40, size)
    total, depth = merged(merge, ((value, np.int64(0)) for value in x))
    assert total == x.sum()
    assert depth <= math.log2(size) + 1
    total, depth = fold(merge, (x.reshape(1, size, 1), np.zeros((1, size, 1), "i8")), 1)
    assert total.shape == (1, 1, 1)
    assert total == x.sum()
    assert depth.max() <= math.log2(size) + 1


def test_records_come_in_order() -> None:
    text = merged(lambda a, b: (a[0] + b[0],), ((letter,) for letter in "abcdefghijk"))
    assert text == ("abcdefghijk",)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (2,), (0, 2)])
def test_layouts_in_memory_change_no_bit(axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((12, 20, 25))
    expression = trace(lambda x: np.sin(x) + np.exp(x), [Elements(F8)], {})
    apart = np.empty((24, 20, 50))[::2, :, ::2]
    apart[...] = x
    offset = np.frombuffer(bytearray(x.nbytes + 1), np.uint8)[1:].view("f8").reshape(x.shape)
    offset[...] = x
    for view in (np.asfortranarray(x), x[::-1].copy()[::-1], apart, offset, x.astype(">f8")):
        for reduction in (Fold("add", F8), Moments(F8), Squares()):
            for one, other in zip(
                reduced(np, reduction, expression, axes, x), reduced(np, reduction, expression, axes, view), strict=True
            ):
                np.testing.assert_array_equal(one, other)


def test_memory_between_steps_is_a_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.undo()
    x = np.random.default_rng(0).random(2**21)
    expression = trace(lambda x: np.sin(x) ** 2 + np.cos(x) * x - np.exp(x) / (x * x + 1), [Elements(F8)], {})
    reduced(np, Moments(F8), expression, (0,), x[:100])
    tracemalloc.start()
    try:
        for reduction in (Fold("add", F8), Moments(F8), Squares()):
            reduced(np, reduction, expression, (0,), x)
        _, peak_nbytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_nbytes < 10 * fused_numpy.BLOCK_NBYTES < x.nbytes / 6


@pytest.mark.gpu
def test_sums_of_many_elements_on_a_device() -> None:
    import cupy

    from overspill.kernels import reduction_cuda

    x = cupy.random.default_rng(0).random(2**26 + 12_345)
    box = Box(x.shape, (0,), x.shape)
    expression = trace(lambda x: np.sin(x) ** 2 + np.cos(x) * x, [Elements(F8)], {})
    records = reduction_cuda.reduce(Fold("add", F8), expression, (0,), [x], box)
    assert backend.is_device_array(records)
    expected = math.fsum((cupy.sin(x) ** 2 + cupy.cos(x) * x).get())
    assert abs(float(records[0, 0]) / expected - 1) <= 64 * EPS
