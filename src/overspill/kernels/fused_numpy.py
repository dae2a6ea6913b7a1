"""Expressions on the CPU in one pass: NumPy's functions on blocks so short that what lies between them stays in cache.

NumPy's own loops are vectorised, also those of exp, tanh and their like, which compilers leave to one call an element.
Results are those of the same functions on whole arrays.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.expression import Expression
from overspill.kernels.steps_numpy import steps_of

BLOCK_NBYTES = 2**18
"""Bytes of a block: a handful of them fit the second-level cache of a core."""


def evaluate(expression: Expression, arrays: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The outputs of `expression`: new arrays of the broadcast shape.

    Parameters
    ----------
    expression
        What to compute.
    arrays
        Its inputs, of any shapes that broadcast, of the element types that it was traced for or of others that NumPy
        casts to these within their kind, as chunks may be that are not what their array says.
    """
    steps, scratch_dtypes = steps_of(expression)
    dtypes = expression.dtypes
    count = len(arrays)
    length = max(1, BLOCK_NBYTES // max(dtype.itemsize for dtype in (*expression.inputs, *dtypes, *scratch_dtypes)))
    given, made = ["readonly"], ["writeonly", "allocate"]
    operands_flags: list[Any] = [given] * count + [made] * len(dtypes)
    blocks = np.nditer(
        [*arrays, *[None] * len(dtypes)],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=operands_flags,
        op_dtypes=[*expression.inputs, *dtypes],
        casting="same_kind",
        order="K",
        buffersize=length,
    )
    scratch = [np.empty(length, dtype) for dtype in scratch_dtypes]
    with blocks:
        if blocks.itersize:
            for operands in blocks:
                operands = operands if isinstance(operands, tuple) else (operands,)
                size = operands[0].size
                registers = [*operands, *(each[:size] for each in scratch)]
                for step in steps:
                    step(registers)
        return tuple(blocks.operands[count:])
