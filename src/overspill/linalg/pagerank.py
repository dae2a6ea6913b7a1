"""PageRank: how often a random walk along a graph's edges comes by each of its nodes."""

import math
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute, persist
from dask.delayed import delayed

from overspill.errors import ArrayError, ConvergenceError, DTypeError, UsageError
from overspill.linalg import place
from overspill.linalg.arguments import as_given, as_vector, system
from overspill.linalg.operators import as_operator, shape_of
from overspill.linalg.progress import logger
from overspill.linalg.space import Operator, Progress, Space
from overspill.linalg.start import random_vector
from overspill.sparse.matrix import CSRMatrix
from overspill.sparse.transposed import Transposed


def pagerank(
    A: Any,
    alpha: float = 0.85,
    *,
    personalization: Any = None,
    tol: float = 1e-6,
    maxiter: int = 100,
    nstart: Any = None,
    dangling: Any = None,
) -> Any:
    """Find the PageRank [1]_ of each node of a directed graph, as `networkx.pagerank` does.

    Parameters
    ----------
    A
        The graph: A[i, j] is the weight of the edge from node i to node j, not negative. `CSRMatrix`, SciPy matrix,
        array or linear operator of shape (n, n); of an operator weights cannot be checked. Undirected graphs have both
        A[i, j] and A[j, i].
    alpha
        The probability to follow an edge, from 0 to 1, rather than to begin anew.
    personalization
        Where walks begin anew, an array of shape (n,), not negative; evenly unless given. It is scaled to sum to one,
        as are `nstart` and `dangling`.
    tol
        The iteration ends when the sum of all changes is below ``n * tol``.
    maxiter
        Most iterations.
    nstart
        The first guess, shape (n,); even unless given.
    dangling
        Where walks go on from nodes without edges out, shape (n,); as `personalization` unless given.

    Returns
    -------
    array of shape (n,)
        Probabilities, which sum to one: a Dask array that is computed and kept where A's products are Dask arrays, else
        a NumPy or CuPy array.

    Raises
    ------
    ConvergenceError
        After `maxiter` iterations, or if A brings NaN.
    ArrayError, DTypeError, UsageError
        For arguments that cannot be used, negative weights among them.

    References
    ----------
    .. [1] L. Page, S. Brin, R. Motwani, T. Winograd, "The PageRank citation ranking: bringing order to the web",
       Stanford InfoLab 1999-66 (1999).

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> A = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    >>> osp.linalg.pagerank(A, tol=1e-12).round(4)
    array([0.1976, 0.2816, 0.5209])
    """
    n, columns = shape_of("A", A)
    if n != columns:
        raise ArrayError(f"A has shape {(n, columns)}, but a graph's matrix is square: pass a row and a column a node")
    if not 0 <= alpha <= 1:
        raise UsageError(f"pagerank cannot use alpha={alpha}: pass a probability, from 0 to 1")
    if not tol >= 0 or maxiter < 1:
        raise UsageError(f"pagerank cannot use tol={tol}, maxiter={maxiter}: pass 0 or more, and 1 or more")
    if isinstance(A, CSRMatrix):
        A = A.persist()  # or each product would make its blocks anew; what does not fit is spilled
    _check_weights(A)
    problem = system(A, random_vector(A, n))
    A, ones = problem.A, 0 * problem.b + 1
    if n == 0:
        return ones
    out = as_operator(A)(ones)
    anew = _shares("personalization", personalization, ones, A)
    vectors = {
        "x": _shares("nstart", nstart, ones, A),
        "anew": anew,
        "onward": anew if dangling is None else _shares("dangling", dangling, ones, A),
        "inverse": (out != 0) / (out + (out == 0)),
        "idle": (out == 0).astype(ones.dtype),
        "ones": ones,
    }
    if isinstance(ones, da.Array):
        vectors = dict(zip(vectors, persist(*vectors.values()), strict=True))
    sums = {name: float(vectors[name].sum()) for name in ("x", "anew", "onward")}
    for name, argument in (("x", "nstart"), ("anew", "personalization"), ("onward", "dangling")):
        if not 0 < sums[name] < math.inf or not float(vectors[name].min()) >= 0:
            raise UsageError(
                f"pagerank cannot use {argument}= of sum {sums[name]:g}, least {float(vectors[name].min()):g}: pass "
                f"shares that are not negative and not all zero"
            )
    options = {"alpha": float(alpha), "sums": sums, "limit": n * tol, "maxiter": maxiter}
    transposed = A.T if hasattr(A, "T") else A.H
    (x,), (iterations, error) = place.run(iterate, transposed, vectors, None, options, name="pagerank")
    logger.info("pagerank: change of %.3g at iteration %d", error, iterations)
    if not math.isfinite(error):
        raise ConvergenceError(f"pagerank: A brought NaN or infinity at iteration {iterations}: check its weights")
    if error >= n * tol:
        raise ConvergenceError(
            f"pagerank: maxiter was reached at iteration {iterations}, with changes of {error:.3g} in all where less "
            f"than {n * tol:.3g} was asked for: raise maxiter= or tol=, or lower alpha="
        )
    return x


def iterate(
    space: Space,
    A: Operator,
    M: Operator,
    *,
    x: Any,
    anew: Any,
    onward: Any,
    inverse: Any,
    idle: Any,
    ones: Any,
    alpha: float,
    sums: dict[str, float],
    limit: float,
    maxiter: int,
    progress: Progress,
) -> tuple[tuple[Any], tuple[int, float]]:
    """The iteration, with the transpose of the graph's matrix for `A`; no use for `M`.

    It reads all its vectors: `x`, `anew` and `onward`, which sum to `sums`; `inverse`, one by the weights out of each
    node, 0 where there are none, which `idle` marks; and `ones`. See `overspill.linalg.space.Core`.
    """
    total, mass = space.dots((ones, x), (idle, x))
    x, mass = x * (1 / total), mass / total
    for iteration in range(1, maxiter + 1):
        y = A(x * inverse)
        shares = (alpha * mass / sums["onward"], onward), ((1 - alpha) / sums["anew"], anew)
        (y,) = space.keep(space.update(y, *shares, scale=alpha))
        total, mass, error = space.dots((ones, y), (idle, y), (ones, abs(y - x)))
        x = y
        progress(iteration, error, x=x)
        if error < limit or not math.isfinite(error):
            break
    return (x * (1 / total),), (iteration, error)


def _shares(name: str, given: Any, ones: Any, A: Any) -> Any:
    """A person's vector as one like `ones`, which it is unless given."""
    if given is None:
        return ones
    if not hasattr(given, "dtype"):
        given = np.asarray(given)
    if given.shape != ones.shape or given.dtype.kind not in "biuf":
        raise ArrayError(
            f"pagerank cannot use {name}= of shape {given.shape} and type {given.dtype}: pass {len(ones)} real numbers"
        )
    if isinstance(ones, da.Array):
        return as_vector(given, ones.dtype, ones.chunks[0], A)
    return as_given(given, ones).astype(ones.dtype)


def _check_weights(A: Any) -> None:
    """Refuse what is no weight, where entries can be looked at."""
    if getattr(A, "dtype", None) is not None and np.dtype(A.dtype).kind not in "biuf":
        raise DTypeError(f"pagerank cannot use weights of type {A.dtype}: cast with .astype() to a real type")
    matrix = A.matrix if isinstance(A, Transposed) else A
    if isinstance(matrix, CSRMatrix):
        least = float(np.min(compute(*(delayed(_least)(block) for block in matrix.to_delayed()))))
    elif hasattr(A, "tocsr") or hasattr(A, "min"):
        least = _least(A.tocsr() if hasattr(A, "tocsr") else A)
    else:
        return
    if not least >= 0:
        raise UsageError(f"pagerank cannot use a weight of {least:g}: pass weights that are not negative")


def _least(A: Any) -> float:
    """The least of a matrix's entries, NaN if one is; of sparse ones those that are stored."""
    entries = A if isinstance(A, np.ndarray | da.Array) or not hasattr(A, "indices") else A.data
    return float(entries.min()) if entries.size else 0.0
