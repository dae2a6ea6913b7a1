"""Linear combinations of vectors on a GPU, several in one kernel: each vector is read and written once."""

from functools import cache
from typing import TYPE_CHECKING, Any

import cupy

if TYPE_CHECKING:
    from overspill.kernels.update import Update

MOST_TERMS = 8
"""Terms of all updates that one kernel does: more need registers that more threads make better use of."""

Pattern = tuple[tuple[bool, tuple[int, ...]], ...]
"""Of each update whether the old values count, and which vectors its terms are, those written over first."""


def updates(*each: "Update") -> None:
    """See `overspill.kernels.update.updates`."""
    if sum(len(one.terms) for one in each) <= MOST_TERMS:
        _launch(*((one.y, one.scale, tuple(one.terms)) for one in each))
        return
    for one in each:
        scale = one.scale
        for first in range(0, max(len(one.terms), 1), MOST_TERMS):
            _launch((one.y, scale, tuple(one.terms[first : first + MOST_TERMS])))
            scale = 1.0


def _launch(*each: tuple[Any, complex, tuple[tuple[complex, Any], ...]]) -> None:
    written = [y for y, _, _ in each]
    places = {id(y): place for place, y in enumerate(written)}
    read: list[Any] = []
    for x in (x for _, _, terms in each for _, x in terms):
        if id(x) not in places:
            places[id(x)] = len(written) + len(read)
            read.append(x)
    pattern = tuple((scale != 0, tuple(places[id(x)] for _, x in terms)) for _, scale, terms in each)
    number = written[0].dtype.type
    numbers = [number(a) for _, scale, terms in each for a in (scale, *(a for a, _ in terms))]
    _kernel(pattern, len(read))(*numbers, *read, *written)


@cache
def _kernel(pattern: Pattern, read: int) -> Any:
    names = [f"y{i}" for i in range(len(pattern))] + [f"x{i}" for i in range(read)]
    lines, numbers = [], 0
    for target, (kept, terms) in enumerate(pattern):
        products = [f"a{numbers} * {names[target]}"] if kept else []
        products += [f"a{numbers + 1 + i} * {names[place]}" for i, place in enumerate(terms)]
        lines.append(f"{names[target]} = {' + '.join(products) or 'T(0)'};")
        numbers += 1 + len(terms)
    inputs = [f"T a{i}" for i in range(numbers)] + [f"T {name}" for name in names[len(pattern) :]]
    outputs = [f"T {name}" for name in names[: len(pattern)]]
    return cupy.ElementwiseKernel(", ".join(inputs), ", ".join(outputs), "\n".join(lines), "overspill_updates")
