"""What a preconditioner is: a rule, and the vectors that it needs, so that it can go wherever a solver runs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import dask.array as da
import numpy as np

from overspill.linalg.arguments import as_vector, chunks_for
from overspill.linalg.operators import as_operator, is_lazy
from overspill.linalg.space import Operator, Space
from overspill.sparse.matrix import CSRMatrix

Rule: TypeAlias = Callable[[Operator, tuple[Any, ...], Any], Any]
"""``rule(A, vectors, r)`` is ``M r`` for the vectors, or rows of them, of one place. It can be pickled."""


@dataclass(frozen=True, slots=True)
class Preconditioner:
    """An approximate inverse of a square matrix, for solvers' `M`; also for SciPy's, where the matrix is in memory.

    Attributes
    ----------
    shape, dtype
        Those of the matrix.
    matrix
        The matrix whose products the rule needs; None if it needs none.
    vectors
        Arrays of as many rows as the matrix: NumPy, CuPy, or Dask arrays cut as its rows are.
    rule
        What to do with them where all rows are at hand.
    rule_of
        What to do with those rows of them that belong to a range of the matrix's row blocks.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> M = osp.linalg.jacobi(np.array([[2.0, 1.0], [1.0, 4.0]]))
    >>> M @ np.array([1.0, 1.0])
    array([0.5 , 0.25])
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    matrix: Any
    vectors: tuple[Any, ...]
    rule: Rule
    rule_of: Callable[[range], Rule]

    ndim = 2

    def __call__(self, r: Any) -> Any:
        """``M @ r``."""
        if is_lazy(self.matrix) and not isinstance(r, da.Array):
            r = as_vector(r, r.dtype, chunks_for(self.matrix, r), self.matrix)
        return self.rule(as_operator(self.matrix), self.vectors, r)

    __matmul__ = matvec = __call__

    def part(self, blocks: range) -> Rule:
        """The rule for a worker that has the rows of these row blocks of the matrix, of `r` and of `vectors`.

        Called there as ``rule(A, parts, r)``: `A` the product of the distributed matrix, which takes and returns the
        worker's rows of a vector, `parts` the worker's rows of `vectors`.
        """
        return self.rule_of(blocks)

    def goes_with(self, A: Any) -> bool:
        """Whether the products that the rule needs, if it needs any, are those of `A`."""
        if isinstance(A, CSRMatrix) and isinstance(self.matrix, CSRMatrix):
            return self.matrix.name == A.name
        return self.matrix is None or self.matrix is A

    def splits_as(self, A: Any) -> bool:
        """Whether its parts, if these are not all alike, are those for the row blocks of `A`."""
        cut = [x.chunks[0] if isinstance(x, da.Array) else None for x in self.vectors]
        return self.rule_of(range(0)) == self.rule or set(cut) == {chunks_for(A, None)}

    def held(self, space: Space, A: Any) -> "Preconditioner":
        """The same with its vectors computed and held; and with `A`, if its products are what it needs."""
        matrix = A if self.matrix is not None and self.goes_with(A) else self.matrix
        return replace(self, matrix=matrix, vectors=space.keep(*self.vectors))
