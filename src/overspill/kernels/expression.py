"""What is done to the elements of arrays, as a list of calls of NumPy's elementwise functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Scalar: TypeAlias = bool | int | float | complex | np.generic


@dataclass(frozen=True, slots=True)
class Value:
    """One of the values of an expression: its inputs, by number, and then the results of its calls."""

    number: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function of NumPy's, by name, and its operands; ``"astype"`` casts its only one."""

    function: str
    operands: tuple[Value | Scalar, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """Calls in an order in which they can be made.

    Attributes
    ----------
    inputs
        Element types of the arrays it is applied to.
    calls
        The calls.
    outputs
        The values that come out.
    single
        Whether the function returned an array, rather than a tuple of them.
    """

    inputs: tuple[np.dtype[Any], ...]
    calls: tuple[Call, ...]
    outputs: tuple[Value, ...]
    single: bool

    @property
    def dtypes(self) -> tuple[np.dtype[Any], ...]:
        """Element types of what comes out."""
        of_values = (*self.inputs, *(call.dtype for call in self.calls))
        return tuple(of_values[value.number] for value in self.outputs)

    def last_uses(self) -> dict[int, int]:
        """The index of the call that uses a value last, by the value's number; outputs are used to the end."""
        last = {
            operand.number: index
            for index, call in enumerate(self.calls)
            for operand in call.operands
            if isinstance(operand, Value)
        }
        return last | {value.number: len(self.calls) for value in self.outputs}


def identity(dtype: np.dtype[Any]) -> Expression:
    """An array's own elements."""
    return Expression((dtype,), (), (Value(0),), single=True)


def followed(expression: Expression, function: str, dtype: np.dtype[Any], *others: Scalar) -> Expression:
    """`expression`, of one output, and `function` of that and `others`; a cast to the type it has already is none."""
    if function == "astype" and expression.dtypes[0] == dtype:
        return expression
    call = Call(function, (*expression.outputs, *others), dtype)
    result = Value(len(expression.inputs) + len(expression.calls))
    return Expression(expression.inputs, (*expression.calls, call), (result,), single=True)


Apply: TypeAlias = Callable[[Call, Sequence[Any]], Any]
"""Makes a call with what its operands came to."""


def calling(xp: Any) -> Apply:
    """Calls as `xp`'s functions make them."""

    def apply(call: Call, operands: Sequence[Any]) -> Any:
        if call.function == "astype":
            return operands[0].astype(call.dtype)
        return getattr(xp, call.function)(*operands)

    return apply


def interpret(expression: Expression, apply: Apply, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs of `expression`, one call after the other."""
    values = list(arrays)
    for call in expression.calls:
        values.append(apply(call, [values[x.number] if isinstance(x, Value) else x for x in call.operands]))
    return tuple(values[value.number] for value in expression.outputs)
