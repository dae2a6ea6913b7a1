"""From a public solver's arguments to its results: checked, run where it runs best, and its end named."""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from overspill.errors import UsageError
from overspill.linalg import place
from overspill.linalg.arguments import system
from overspill.linalg.outcome import Outcome, warn
from overspill.linalg.progress import Observer, logger
from overspill.linalg.space import Core


def solve(
    name: str,
    core: Core,
    A: Any,
    b: Any,
    x0: Any,
    M: Any,
    *,
    rtol: float,
    atol: float,
    maxiter: int | None,
    observer: Observer | None,
    maxiter_a_row: int = 10,
    steps: int = 1,
    **options: Any,
) -> tuple[Any, int]:
    """What the solver `name`, whose mathematics is `core`, returns to a person; see `cg` for the arguments.

    `maxiter` is `maxiter_a_row` times the number of rows by default; the core's is `steps` times that.
    """
    for what, value in (("rtol", rtol), ("atol", atol)):
        if not (isinstance(value, Real) and 0 <= value < math.inf):
            raise UsageError(f"{name} cannot use {what}={value!r}: pass a number that is not negative")
    problem = system(A, b, x0, M)
    if maxiter is None:
        maxiter = maxiter_a_row * problem.b.size
    if maxiter < 0:
        raise UsageError(f"{name} cannot use maxiter={maxiter}: pass a number of iterations")
    (x,), outcome = place.run(
        core,
        problem.A,
        {"b": problem.b, "x": problem.x},
        problem.M,
        {"rtol": float(rtol), "atol": float(atol), "maxiter": steps * int(maxiter), **options},
        name=name,
        callback=observer,
    )
    assert isinstance(outcome, Outcome)
    logger.info("%s: %s", name, outcome)
    warn(name, outcome, stacklevel=3)
    return problem.returned(x), outcome.info


def of_x(callback: Callable[[Any], Any] | None) -> Observer | None:
    """What calls a person's callback with the solution whenever there is a new one."""
    if callback is None:
        return None

    def observe(residual: float, vectors: Mapping[str, Any]) -> None:
        if "x" in vectors:
            callback(vectors["x"])

    return observe
