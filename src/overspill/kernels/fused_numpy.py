"""Expressions on the CPU in one pass: NumPy's functions on blocks so short that what lies between them stays in cache.

NumPy's own loops are vectorised, also those of exp, tanh and their like, which compilers leave to one call an element.
Results are those of the same functions on whole arrays.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.expression import Call, Expression, Value

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
    steps, scratch_dtypes = _steps(expression)
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


def _steps(expression: Expression) -> tuple[list[Callable[[list[Any]], None]], list[np.dtype[Any]]]:
    """What to do with each block, and the types of the scratch blocks that it takes.

    Blocks are registers: the inputs first, then the outputs, then scratch, used again as soon as nobody needs it.
    """
    count = len(expression.inputs)
    register = {number: number for number in range(count)}
    outputs: dict[int, int] = {}
    for position, value in enumerate(expression.outputs):
        outputs.setdefault(value.number, count + position)
    first_scratch = count + len(expression.outputs)
    scratch: list[np.dtype[Any]] = []
    free: defaultdict[np.dtype[Any], list[int]] = defaultdict(list)
    last = expression.last_uses()
    steps = []
    for index, call in enumerate(expression.calls):
        number = count + index
        if number not in last:
            continue
        operands = [Value(register[x.number]) if isinstance(x, Value) else x for x in call.operands]
        done = {x.number for x in call.operands if isinstance(x, Value) and last[x.number] == index}
        idle = [register[x] for x in done if register[x] >= first_scratch]
        if call.function != "where":  # which writes before it has read everything
            _give(idle, free, scratch, first_scratch)
        if number in outputs:
            register[number] = outputs[number]
        elif free[call.dtype]:
            register[number] = free[call.dtype].pop()
        else:
            register[number] = first_scratch + len(scratch)
            scratch.append(call.dtype)
        if call.function == "where":
            _give(idle, free, scratch, first_scratch)
        steps.append(_step(call, operands, register[number]))
    for position, value in enumerate(expression.outputs):
        if register[value.number] != count + position:
            steps.append(_copy(Value(register[value.number]), count + position))
    return steps, scratch


def _give(
    registers: list[int], free: defaultdict[np.dtype[Any], list[int]], scratch: list[np.dtype[Any]], first: int
) -> None:
    for register in registers:
        free[scratch[register - first]].append(register)


def _step(call: Call, operands: Sequence[Any], target: int) -> Callable[[list[Any]], None]:
    if call.function == "where":
        condition, x, y = operands
        return _where(condition, x, y, target, call.dtype)
    if call.function == "astype":
        return _copy(operands[0], target)
    if call.function in ("real", "imag"):
        part = call.function
        return lambda registers: np.copyto(registers[target], getattr(registers[operands[0].number], part))
    function = getattr(np, call.function)

    def step(registers: list[Any]) -> None:
        function(*(registers[x.number] if isinstance(x, Value) else x for x in operands), out=registers[target])

    return step


def _copy(source: Any, target: int) -> Callable[[list[Any]], None]:
    return lambda registers: np.copyto(registers[target], registers[source.number], casting="unsafe")


def _where(condition: Any, x: Any, y: Any, target: int, dtype: np.dtype[Any]) -> Callable[[list[Any]], None]:
    bits = np.dtype(f"i{dtype.itemsize}") if dtype.itemsize in (1, 2, 4, 8) else None
    scratch = np.empty(0, bits)

    def step(registers: list[Any]) -> None:
        nonlocal scratch
        out = registers[target]
        chosen, otherwise, holds = (registers[z.number] if isinstance(z, Value) else z for z in (x, y, condition))
        if bits is not None and chosen.dtype == otherwise.dtype == dtype and isinstance(holds, np.ndarray):
            if scratch.size < out.size:
                scratch = np.empty(out.size, bits)
            _select(holds, chosen.view(bits), otherwise.view(bits), out.view(bits), scratch[: out.size])
        else:
            np.copyto(out, otherwise)
            np.copyto(out, chosen, where=holds)

    return step


def _select(condition: NDArray[Any], x: Any, y: Any, out: NDArray[Any], mask: NDArray[Any]) -> None:
    """`where` by bits: those of `y`, turned into those of `x` where it holds; a branch for each element is slow."""
    np.copyto(mask, condition)
    np.negative(mask, out=mask)  # all bits, or none
    np.bitwise_xor(x, y, out=out)
    np.bitwise_and(out, mask, out=out)
    np.bitwise_xor(out, y, out=out)
