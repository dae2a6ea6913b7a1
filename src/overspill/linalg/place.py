"""Where a solver runs: in memory, over Dask graphs, or resident on a cluster's workers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dask.array as da
from distributed import Client

from overspill.linalg import resident
from overspill.linalg.graphs import Graphs
from overspill.linalg.operators import as_operator
from overspill.linalg.preconditioner import Preconditioner
from overspill.linalg.progress import Observer, Report
from overspill.linalg.space import Core, InMemory, Space
from overspill.linalg.spreading import client
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.transposed import Transposed


def run(
    core: Core,
    A: Any,
    vectors: Mapping[str, Any],
    M: Any,
    options: Mapping[str, Any],
    *,
    name: str,
    callback: Observer | None = None,
) -> tuple[tuple[Any, ...], Any]:
    """What ``core(space, A, M, progress=..., **vectors, **options)`` returns where it runs best.

    Parameters
    ----------
    core
        See `overspill.linalg.space.Core`.
    A, M
        Square matrix and preconditioner or None, as the user gave them (see `overspill.linalg.operators`).
    vectors
        Arrays of n rows, all NumPy, all CuPy or all Dask, the latter cut alike; see `overspill.linalg.arguments`.
    options
        Numbers and other small things.
    name
        Of the solver, for its progress.
    callback
        Called with the residual's norm and the vectors so far: a solver that has one stays where these are in reach.
    """
    dask_vectors = any(isinstance(x, da.Array) for x in vectors.values())
    cluster = client()
    report = Report(name, callback, cluster)
    if dask_vectors and callback is None and _can_be_resident(A, M, cluster):
        return resident.solve(core, A, vectors, M, options, progress=report)
    space: Space = Graphs() if dask_vectors else InMemory()
    # Or each iteration would make the blocks anew; what does not fit is spilled.
    if isinstance(A, CSRMatrix):
        A = A.persist()
    elif isinstance(A, Transposed):
        A = replace(A, matrix=A.matrix.persist())
    if dask_vectors:
        vectors = dict(zip(vectors, space.keep(*vectors.values()), strict=True))
    if isinstance(M, Preconditioner):
        M = M.held(space, A)
    return core(space, as_operator(A), as_operator(M), progress=report, **vectors, **options)


def _can_be_resident(A: Any, M: Any, cluster: Client | None) -> bool:
    if cluster is None or not isinstance(A, CSRMatrix | Transposed):
        return False
    if M is not None and not (isinstance(M, Preconditioner) and M.goes_with(A) and M.splits_as(A)):
        return False
    return resident.available(A)
