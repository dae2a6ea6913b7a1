"""Expressions on a GPU in one kernel, by CuPy's own fusion."""

from collections.abc import Callable, Sequence
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
    key = repr(expression)  # equal numbers of different types, or signs of zero, make different kernels
    if key not in _kernels:
        _kernels[key] = _fused(expression)
    results = _kernels[key](*arrays)
    return results if isinstance(results, tuple) else (results,)


_kernels: dict[str, Callable[..., Any]] = {}


def _fused(expression: Expression) -> Callable[..., Any]:
    def elementwise(*arrays: Any) -> Any:
        results = interpret(expression, cupy, arrays)
        return results[0] if len(results) == 1 else results

    fused: Callable[..., Any] = cupy.fuse(kernel_name="overspill_elementwise")(elementwise)
    return fused
