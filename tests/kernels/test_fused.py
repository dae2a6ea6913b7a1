"""Expressions in one pass, against the same functions on whole arrays; one body for NumPy and CuPy."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from overspill import memory
from overspill.kernels import fused_numpy
from overspill.kernels.tracing import Elements, trace
from overspill.memory import copying

UNARY = ["negative", "absolute", "square", "sqrt", "exp", "log", "sin", "cos", "tanh", "floor", "sign", "conjugate"]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "hypot",
    "power",
    "less",
    "equal",
]
DTYPES = ["float32", "float64", "complex64", "complex128", "int8", "int32", "int64", "uint8", "bool", "float16"]

Tree = Any


def trees(inputs: int) -> st.SearchStrategy[Tree]:
    """Expressions as nested tuples: a function's name and its operands, inputs by number, constants in lists."""
    constants = st.sampled_from([0, 1, -2, 3, 0.5, 2.5, True, 1j]).map(lambda x: [x])
    leaves = st.integers(0, inputs - 1) | constants

    def grown(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        return (
            st.tuples(st.sampled_from(UNARY), children)
            | st.tuples(st.sampled_from(BINARY), children, children)
            | st.tuples(st.just("where"), children, children, children)
            | st.tuples(st.just("astype"), children, st.sampled_from(DTYPES))
        )

    return st.recursive(leaves, grown, max_leaves=8)


def applied(tree: Tree, arrays: tuple[Any, ...], xp: ModuleType) -> Any:
    if isinstance(tree, int):
        return arrays[tree]
    if isinstance(tree, list):
        return tree[0]
    name, *operands = tree
    if name == "astype":
        value = applied(operands[0], arrays, xp)
        return value.astype(operands[1]) if hasattr(value, "astype") else value
    return getattr(xp, name)(*(applied(x, arrays, xp) for x in operands))


def sample(dtype: str, size: int, seed: int) -> Any:
    """Numbers of every kind that `dtype` has, the awkward ones first."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, size)
    if np.dtype(dtype).kind in "fc":
        x[: min(size, 5)] = [np.nan, np.inf, -np.inf, 0.0, -0.0][:size]
    with np.errstate(all="ignore"):
        if np.dtype(dtype).kind == "c":
            x = x + 1j * rng.permutation(x)
        return x.astype(dtype)


def assert_close(actual: Any, expected: Any, exact: bool) -> None:
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    if exact or expected.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, expected)
    else:
        eps = np.finfo(expected.dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=64 * eps, atol=64 * eps)


@given(
    tree=trees(2),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    size=st.integers(1, 70),
    length=st.integers(1, 16),
)
@settings(max_examples=400, deadline=None)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_random_expressions_are_numpys(tree: Tree, dtypes: tuple[str, str], size: int, length: int) -> None:
    arrays = tuple(sample(dtype, size, seed) for seed, dtype in enumerate(dtypes))
    with np.errstate(all="ignore"):
        try:
            expected = applied(tree, arrays, np)
        except (TypeError, ValueError, OverflowError):
            reject()
        assume(isinstance(expected, np.ndarray) and expected.shape == (size,))
        expression = trace(lambda *x: applied(tree, x, np), [Elements(np.dtype(dtype)) for dtype in dtypes], {})
        block_nbytes = fused_numpy.BLOCK_NBYTES
        fused_numpy.BLOCK_NBYTES = 16 * length
        try:
            (actual,) = fused_numpy.evaluate(expression, arrays)
        finally:
            fused_numpy.BLOCK_NBYTES = block_nbytes
    assert_close(actual, expected, exact=False)


def evaluated(xp: ModuleType, function: Callable[..., Any], *arrays: Any) -> tuple[Any, ...]:
    expression = trace(function, [Elements(x.dtype) for x in arrays], {})
    if xp is np:
        return fused_numpy.evaluate(expression, arrays)
    from overspill.kernels import fused_cuda

    return tuple(x.get() for x in fused_cuda.evaluate(expression, [xp.asarray(x) for x in arrays]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_function_of_every_type(xp: ModuleType, dtype: str) -> None:
    def function(x: Any, y: Any) -> Any:
        return np.where(x == y, x, x * y + 1), np.absolute(x), (x != 0) & (y != 0)

    x, y = sample(dtype, 1000, 1), sample(dtype, 1000, 2)
    with np.errstate(all="ignore"):
        results, expected = evaluated(xp, function, x, y), function(x, y)
    for actual, wanted in zip(results, expected, strict=True):
        assert_close(actual, wanted, exact=xp is np)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "complex64"])
def test_sine_and_cosine_of_one_operand(xp: ModuleType, dtype: str) -> None:
    def function(x: Any) -> Any:
        return np.sin(x) ** 2 + np.cos(x) * x, np.cos(x), np.sin(3 * x) - np.cos(3 * x), np.sin(x + 1)

    x = sample(dtype, 1000, 1)
    with np.errstate(all="ignore"):
        results, expected = evaluated(xp, function, x), function(x)
    for actual, wanted in zip(results, expected, strict=True):
        assert_close(actual, wanted, exact=xp is np)


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4,)), ((3, 1), (1, 5)), ((), (2, 3)), ((0, 3), (3,)), ((2, 3, 4), (3, 1)), ((), ())]
)
def test_shapes_broadcast(xp: ModuleType, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = (np.asarray(np.random.default_rng(seed).random(shape)) for seed, shape in enumerate(shapes))
    (actual,) = evaluated(xp, lambda a, b: a * 2 - b, x, y)
    assert_close(actual, np.asarray(x * 2 - y), exact=xp is np)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T,
        lambda x: x[::-1, ::2],
        np.asfortranarray,
        lambda x: x[:, :1],
        lambda x: x.astype(">f8"),
    ],
)
def test_any_layout(view: Callable[[Any], Any]) -> None:
    x = view(np.random.default_rng(0).random((60, 70)))
    expression = trace(lambda a: np.sqrt(a) + a, [Elements(x.dtype.newbyteorder("="))], {})
    (actual,) = fused_numpy.evaluate(expression, [x])
    np.testing.assert_array_equal(actual, np.sqrt(x) + x)


@given(
    shape=st.lists(st.integers(0, 30), min_size=1, max_size=3),
    orders=st.lists(st.permutations(range(3)), min_size=2, max_size=3),
    dtypes=st.lists(st.sampled_from(["float64", "float32", "int32", ">f8"]), min_size=3, max_size=3),
    length=st.integers(1, 200),
)
@settings(deadline=None)
@pytest.mark.parametrize("most_lines", [0, copying.MOST_LINES])
def test_arrays_of_different_memory_orders(
    most_lines: int, shape: list[int], orders: list[list[int]], dtypes: list[str], length: int
) -> None:
    def function(*x: Any) -> Any:
        return np.where(x[0] > x[1], x[-1] * x[1], x[0].real), x[0] + x[-1]

    arrays = []
    for order, dtype in zip(orders, dtypes, strict=False):
        axes = [axis for axis in order if axis < len(shape)]
        x = sample("float64" if dtype != "int32" else dtype, math.prod(shape), len(arrays)).astype(dtype)
        arrays.append(x.reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes)))
    arrays[1] = arrays[1][..., :1]
    expression = trace(function, [Elements(x.dtype.newbyteorder("=")) for x in arrays], {})
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(copying, "MOST_LINES", most_lines)
        patch.setattr(fused_numpy, "BLOCK_NBYTES", 8 * length)
        results = fused_numpy.evaluate(expression, arrays)
        for actual, wanted in zip(results, function(*arrays), strict=True):
            assert_close(actual, wanted, exact=True)


@pytest.mark.parametrize("shape", [(1100, copying.MOST_LINES + 1), (512, 512)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_a_matrix_and_its_transpose(shape: tuple[int, int], dtype: str) -> None:
    x, y = (np.random.default_rng(seed).random(shape).astype(dtype) for seed in range(2))
    y = y.reshape(shape[::-1]).T
    expression = trace(lambda a, b: np.sqrt(a) + b, [Elements(x.dtype)] * 2, {})
    (actual,) = fused_numpy.evaluate(expression, [x, y])
    assert actual.flags.c_contiguous
    np.testing.assert_array_equal(actual, np.sqrt(x) + y)


def test_tiles_make_tiles() -> None:
    x = memory.as_tile(np.random.default_rng(0).random((600, 512)))
    expression = trace(lambda a, b: (a + b, a > b), [Elements(x.dtype)] * 2, {})
    for other in (np.ones(512), x[::-1], x[:512].T[:1], np.asfortranarray(x)):
        results = fused_numpy.evaluate(expression, [x, other])
        assert all(memory.is_tile(result) and result.flags.c_contiguous for result in results)
        np.testing.assert_array_equal(results, [x + other, x > other])
    assert not memory.is_tile(fused_numpy.evaluate(expression, [x.copy(), np.ones(512)])[0])
    (turned, _) = fused_numpy.evaluate(expression, [x.T, x.T])
    assert turned.flags.f_contiguous


def test_chunks_of_another_type_than_their_array_says() -> None:
    x = np.random.default_rng(0).random(100, dtype="f4")
    expression = trace(lambda a: np.sqrt(a), [Elements(np.dtype("f8"))], {})
    (actual,) = fused_numpy.evaluate(expression, [x])
    np.testing.assert_array_equal(actual, np.sqrt(x.astype("f8")))
    with pytest.raises(TypeError, match="same_kind"):
        fused_numpy.evaluate(expression, [x * 1j])


def test_outputs_that_are_inputs_or_each_other(xp: ModuleType) -> None:
    x = np.arange(10.0)

    def function(a: Any) -> Any:
        b = a + 1
        return a, b, b, np.sqrt(b)

    results = evaluated(xp, function, x)
    for actual, wanted in zip(results, (x, x + 1, x + 1, np.sqrt(x + 1)), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-15)
    if xp is np:
        assert not np.shares_memory(results[0], x)
        assert not np.shares_memory(results[1], results[2])


def test_memory_between_steps_is_a_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    empty = np.empty

    def counted(*arguments: Any, **keywords: Any) -> Any:
        made.append((x := empty(*arguments, **keywords)).nbytes)
        return x

    inputs = [Elements(np.dtype("f8"))]
    expression = trace(lambda x: np.sin(x) ** 2 + np.cos(x) * x - np.exp(x) / (x * x + 1), inputs, {})
    x = np.random.default_rng(0).random(2**20)
    monkeypatch.setattr(fused_numpy.np, "empty", counted)
    (actual,) = fused_numpy.evaluate(expression, [x])
    assert sum(made) <= 3 * fused_numpy.BLOCK_NBYTES
    monkeypatch.undo()
    np.testing.assert_array_equal(actual, np.sin(x) ** 2 + np.cos(x) * x - np.exp(x) / (x * x + 1))
