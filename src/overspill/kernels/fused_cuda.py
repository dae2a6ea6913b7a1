"""Expressions on a GPU in one kernel, by CuPy's own fusion."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import cupy

from overspill.kernels.expression import Expression, interpret


def evaluate(expression: Expression, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """Queue the kernel of `expression` on the current stream; its outputs, new arrays of the broadcast shape.

    Parameters
    ----------
    expression
        What to compute.
    arrays
        Its inputs on the device, of any shapes that broadcast, of the element types that it was traced for.
    """
    results = _fused(expression)(*arrays)
    return results if isinstance(results, tuple) else (results,)


@lru_cache(maxsize=256)
def _fused(expression: Expression) -> Callable[..., Any]:
    def elementwise(*arrays: Any) -> Any:
        results = interpret(expression, cupy, arrays)
        return results[0] if len(results) == 1 else results

    fused: Callable[..., Any] = cupy.fuse(kernel_name="overspill_elementwise")(elementwise)
    return fused
