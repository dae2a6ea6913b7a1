"""What NumPy does with each block of an expression's arrays: calls that read and write registers."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.kernels.expression import Call, Expression, Value


def steps_of(expression: Expression) -> tuple[list[Callable[[list[Any]], None]], list[np.dtype[Any]]]:
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
            mask = scratch[: out.size].reshape(out.shape)
            _select(holds, chosen.view(bits), otherwise.view(bits), out.view(bits), mask)
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
