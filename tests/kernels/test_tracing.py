"""What functions do to elements, noted; what cannot be noted, named."""

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from overspill.kernels import fused_numpy
from overspill.kernels.expression import Call, Expression, Value
from overspill.kernels.stand_in import NotFusableError
from overspill.kernels.tracing import Elements, trace

F4, F8 = np.dtype("float32"), np.dtype("float64")


def of_one(function: Callable[..., Any], dtype: Any = F8) -> Expression:
    return trace(function, [Elements(np.dtype(dtype))], {})


def test_calls_are_noted_in_order() -> None:
    expression = of_one(lambda x: np.sin(x) ** 2 + x * 3)
    x, sine, square, triple, total = (Value(number) for number in range(5))
    assert expression.calls == (
        Call("sin", (x,), F8),
        Call("square", (sine,), F8),
        Call("multiply", (x, 3), F8),
        Call("add", (square, triple), F8),
    )
    assert expression.outputs == (total,)
    assert expression.single
    assert expression.last_uses() == {0: 2, 1: 1, 2: 3, 3: 3, 4: 4}


def test_the_same_call_is_made_once() -> None:
    expression = of_one(lambda x: np.sin(2 * x) + np.cos(2 * x) + x * np.float32(2) + x * 0.0 + x * -0.0)
    assert [call.function for call in expression.calls].count("multiply") == 4


def test_arrays_of_the_same_elements_are_two_arrays() -> None:
    def function(x: Any) -> Any:
        first, second = x * 2, x * 2
        first += x
        return first, second

    x = np.array([1.0, -1.0])
    np.testing.assert_array_equal(fused_numpy.evaluate(of_one(function), [x]), [3 * x, 2 * x])


@pytest.mark.parametrize(
    ("function", "dtypes", "expected"),
    [
        (lambda x, y: x + y, ("int32", "float32"), "float64"),
        (lambda x, y: x + y, ("uint8", "int8"), "int16"),
        (lambda x, y: np.where(x > 0, y, 1), ("float64", "int8"), "int8"),
        (lambda x, y: np.where(x, y, 1.5), ("float64", "float32"), "float32"),
        (lambda x, y: x * np.float64(2) + y, ("float32", "float32"), "float64"),
        (lambda x, y: x * 2.5 + y, ("float16", "float16"), "float16"),
        (lambda x, y: x + 1j * y, ("float32", "float32"), "complex64"),
        (lambda x, y: abs(x) > y, ("complex64", "float32"), "bool"),
        (lambda x, y: (x * y).real, ("complex64", "float32"), "float32"),
        (lambda x, y: x.imag + y, ("float64", "int16"), "float64"),
        (lambda x, y: np.clip(x, 0, 1) + y, ("int8", "int8"), "int8"),
        (lambda x, y: (x + y).astype("int64"), ("float32", "bool"), "int64"),
        (lambda x, y: x & ~y, ("bool", "bool"), "bool"),
        (lambda x, y: x // y % 3, ("int32", "int32"), "int32"),
    ],
)
def test_types_are_numpys(function: Callable[..., Any], dtypes: tuple[str, str], expected: str) -> None:
    expression = trace(function, [Elements(np.dtype(dtype)) for dtype in dtypes], {})
    arrays = [np.ones(3, dtype) for dtype in dtypes]
    assert expression.dtypes == (np.dtype(expected),)
    assert function(*arrays).dtype == np.dtype(expected)


def test_arguments_by_name_and_tuples() -> None:
    expression = trace(lambda x, *, y, scale: (x * scale, y), [Elements(F4)], {"y": Elements(F8), "scale": 2})
    assert expression.inputs == (F4, F8)
    assert expression.outputs == (Value(2), Value(1))
    assert expression.dtypes == (F4, F8)
    assert not expression.single


def test_expressions_travel() -> None:
    expression = of_one(lambda x: np.where(x > 0, np.sqrt(x), np.float32(1)))
    assert pickle.loads(pickle.dumps(expression)) == expression
    assert hash(expression) == hash(pickle.loads(pickle.dumps(expression)))


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x if x > 0 else -x, "a decision on elements"),
        (lambda x: math.sin(x), "float\\(\\) of an element"),
        (lambda x: np.add.reduce(x), "add.reduce"),
        (lambda x: np.cumsum(x), "cumsum"),
        (lambda x: x.sum(), "\\.sum"),
        (lambda x: x - x.mean(), "\\.mean"),
        (lambda x: x[::-1], "indexing"),
        (lambda x: x.shape[0] * x, "\\.shape"),
        (lambda x: np.add(x, 1, dtype="float32"), "add with dtype"),
        (lambda x: np.divmod(x, 2), "divmod"),
        (lambda x: np.where(x > 0), "where with 1 arguments"),
        (lambda x: x + "a", "add of a str"),
        (lambda x: x + np.arange(3), "add of a ndarray"),
        (lambda x: np.bitwise_and(x, 1), "bitwise_and"),
        (lambda x: 3.0, "a result of type float"),
        (lambda x: None, "a result of type NoneType"),
        (lambda x: np.matmul(x, x), "matmul"),
    ],
)
def test_what_cannot_be_noted_is_named(function: Callable[..., Any], named: str) -> None:
    with pytest.raises(NotFusableError, match=named):
        of_one(function)
