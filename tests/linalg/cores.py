"""Matrices, and cores that do what no solver does: they fail, go on for ever, or count."""

from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse

from overspill.kernels import csr_residence
from overspill.sparse import CSRMatrix
from overspill.sparse.block import Block
from overspill.sparse.matrix import of_function

N = 20


def poisson(n: int = N) -> scipy.sparse.csr_array:
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n))
    eye = scipy.sparse.eye_array(n)
    return (scipy.sparse.kron(line, eye) + scipy.sparse.kron(eye, line)).tocsr()


def ignore(iteration: int, residual: float, **restart: Any) -> None:
    """Progress that nobody looks at."""


def rank_of(space: Any, A: Any, M: Any, *, progress: Any) -> tuple[tuple[()], int]:
    """A core that says on how many workers it ran, and that it ran resident."""
    return (), space.communicator.size


def products(space: Any, A: Any, M: Any, *, progress: Any, x: Any, X: Any) -> tuple[tuple[Any, ...], Any]:
    Y = A(X)
    return (A(x), Y), (space.dots((x, x), (x, A(x))), space.gram(X, Y))


def fails_on_one(space: Any, A: Any, M: Any, *, progress: Any, x: Any) -> Any:
    space.dots()
    if space.communicator.rank == 1:
        raise ZeroDivisionError("on rank 1")
    while True:
        space.dots((x, x))


def runs_out_of_memory(space: Any, A: Any, M: Any, *, progress: Any) -> Any:
    raise MemoryError("no more")


def goes_on_for_ever(space: Any, A: Any, M: Any, *, progress: Any, x: Any) -> Any:
    iteration = 0
    while True:
        iteration += 1
        (residual,) = space.dots((x, x))
        progress(iteration, residual, x=x)


def goes_on_with_nothing_to_restart_from(space: Any, A: Any, M: Any, *, progress: Any, x: Any) -> Any:
    goes_on_for_ever(space, A, M, progress=lambda iteration, residual, x: progress(iteration, residual), x=x)


def rows(start: int, stop: int, n: int) -> Any:
    """Rows of the identity."""
    return csr_residence.make(np.ones(stop - start), np.arange(stop - start), np.arange(stop - start + 1), stop - start)


def identity(n: int, blocks: int = 2) -> CSRMatrix:
    """A matrix whose blocks can be made again, wherever they were."""
    ends = [n * number // blocks for number in range(blocks + 1)]
    cuts = list(pairwise(ends))
    known = [Block(stop - start, (start, stop), stop - start) for start, stop in cuts]
    arguments = [(start, stop, n) for start, stop in cuts]
    return of_function(rows, arguments, name="identity", shape=(n, n), dtype=float, blocks=known)


def counts_until_it_has_restarted(space: Any, A: Any, M: Any, *, progress: Any, x: Any) -> Any:
    """Adds one to `x` again and again: for ever if `x` was zero, else ten times."""
    (first,) = space.dots((x, x))
    iteration = 0
    while not first or iteration < 10:
        iteration += 1
        x = A(x) + 1
        (residual,) = space.dots((x, x))
        progress(iteration, residual, x=x)
    return (x,), iteration
