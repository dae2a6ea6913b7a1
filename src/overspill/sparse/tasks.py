"""Sparse matrices made by a function, block by block."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from dask._task_spec import Task, TaskRef
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from overspill import backend
from overspill.errors import ArrayError
from overspill.sparse.block import Block

if TYPE_CHECKING:
    from overspill.sparse.matrix import CSRMatrix


def of_function(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    name: str,
    shape: tuple[int, int],
    dtype: Any,
    blocks: Sequence[Block],
    residence: backend.Residence = "host",
    dependencies: Sequence[Any] = (),
) -> "CSRMatrix":
    """The matrix whose block i is ``function(*arguments[i])``, made by a task of its own.

    Parameters
    ----------
    function
        Returns a block in canonical form, its columns counted from the first of its window.
    arguments
        For each block; `dask`'s task references stand for the results of tasks in `dependencies`.
    name
        What keys begin with; what follows tells functions and arguments apart.
    shape, dtype, blocks, residence
        Of the matrix, as `CSRMatrix` has them.
    dependencies
        Dask collections that `arguments` refer to.

    Raises
    ------
    ArrayError
        Arguments for more or fewer blocks, or blocks that do not make up the shape.

    Examples
    --------
    >>> import scipy.sparse
    >>> def scaled_identity(factor):
    ...     return scipy.sparse.csr_array(scipy.sparse.eye_array(2) * factor)
    >>> blocks = [Block(2, (0, 2), 2), Block(2, (1, 3), 2)]
    >>> A = of_function(scaled_identity, [(1,), (5,)], name="a", shape=(4, 3), dtype=float, blocks=blocks)
    >>> A.to_scipy()[2:].toarray()
    array([[0., 5., 0.],
           [0., 0., 5.]])
    """
    from overspill.sparse.matrix import CSRMatrix

    if len(arguments) != len(blocks):
        raise ArrayError(f"there are arguments for {len(arguments)} blocks, and {len(blocks)} blocks: pass as many")
    full = f"{name}-{tokenize(function, arguments, shape, np.dtype(dtype).str, tuple(blocks), residence)}"
    mapping = {(full, i): Task((full, i), function, *given) for i, given in enumerate(arguments)}
    graph = HighLevelGraph.from_collections(full, MaterializedLayer(mapping), dependencies=list(dependencies))
    return CSRMatrix(graph, full, shape, dtype, blocks, residence)


def map_blocks(
    A: "CSRMatrix",
    function: Callable[..., Any],
    *arguments: Any,
    name: str,
    dtype: np.dtype[Any],
    residence: backend.Residence,
) -> "CSRMatrix":
    """The matrix of blocks ``function(block, *arguments)``, which have entries in the same places."""
    return of_function(
        function,
        [(TaskRef((A.name, i)), *arguments) for i in range(len(A.blocks))],
        name=name,
        shape=A.shape,
        dtype=dtype,
        blocks=A.blocks,
        residence=residence,
        dependencies=[A],
    )
