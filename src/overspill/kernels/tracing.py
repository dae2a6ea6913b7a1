"""The expression that a Python function is.

The function is called once with stand-ins that note what is done to them. What they cannot note, because it depends on
the values, on their places or on more than one element, makes the expression impossible, and is named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overspill.kernels.expression import Expression, Value
from overspill.kernels.stand_in import NotFusableError, StandIn, Tracer


@dataclass(frozen=True, slots=True)
class Elements:
    """What `trace` is given in the place of an array: the type of its elements."""

    dtype: np.dtype[Any]


def trace(function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Expression:
    """The expression that `function` is of those arguments that are `Elements`; all others it gets as they are.

    Raises
    ------
    NotFusableError
        If there is none.
    """
    tracer = Tracer()

    def given(x: Any) -> Any:
        return tracer.stand_in(x.dtype) if isinstance(x, Elements) else x

    # One after the other: inputs are numbered as they come.
    by_place = [given(x) for x in arguments]
    by_name = {name: given(x) for name, x in keywords.items()}
    results = function(*by_place, **by_name)
    single = not isinstance(results, tuple)
    outputs = (results,) if single else results
    for result in outputs:
        if not isinstance(result, StandIn):
            raise NotFusableError(f"a result of type {type(result).__name__}, made of no array,")
    return Expression(
        inputs=tuple(tracer.dtypes[: tracer.inputs]),
        calls=tuple(tracer.calls),
        outputs=tuple(Value(result._number) for result in outputs),
        single=single,
    )
