"""What a preconditioner is: a rule, and the vectors that it needs, so that it can go wherever a solver runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from overspill.linalg.space import Operator

Rule: TypeAlias = Callable[[Operator, tuple[Any, ...], Any], Any]
"""``rule(A, vectors, r)`` is ``M r`` for the vectors, or rows of them, of one place. It can be pickled."""


@dataclass(frozen=True, slots=True)
class Preconditioner:
    """An approximate inverse of a square matrix, for solvers' `M`; also for SciPy's, where the matrix is in memory.

    Attributes
    ----------
    shape, dtype
        Those of the matrix.
    vectors
        Arrays of as many rows as the matrix: NumPy, CuPy, or Dask arrays cut as its rows are.
    operator
        The product with the matrix.
    rule
        What to do with them where all rows are at hand.
    rule_of
        What to do with those rows of them that belong to a range of the matrix's row blocks.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    vectors: tuple[Any, ...]
    operator: Operator
    rule: Rule
    rule_of: Callable[[range], Rule]

    ndim = 2

    def __call__(self, r: Any) -> Any:
        """``M @ r``."""
        return self.rule(self.operator, self.vectors, r)

    __matmul__ = matvec = rmatvec = __call__

    def part(self, blocks: range) -> Rule:
        """The rule for a worker that has the rows of these row blocks of the matrix, of `r` and of `vectors`.

        Called there as ``rule(A, parts, r)``: `A` the product of the distributed matrix, which takes and returns the
        worker's rows of a vector, `parts` the worker's rows of `vectors`.
        """
        return self.rule_of(blocks)
