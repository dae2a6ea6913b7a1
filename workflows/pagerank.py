"""PageRank of a directed graph, from a list of edges or drawn by R-MAT at any size.

The file has two vertex numbers a line, from and to; blank lines and what follows a '#' are skipped. It may be
compressed (.gz). An edge that is there twice counts twice.
"""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import dask
import dask.array as da
import numpy as np

import overspill as osp

WALKS = 3
"""Random vectors that the equation is checked with."""


@dataclass(frozen=True)
class Params:
    """Parameters of the graph and of the iteration."""

    edges: Path | None = None
    """The list of edges; a graph of R-MAT's unless given."""

    undirected: bool = False
    """Whether each edge of the list leads both ways."""

    scale: int = 12
    """R-MAT's graph has 2^scale vertices, and 16 edges for each."""

    alpha: float = 0.85
    """The probability to follow an edge, rather than to begin anew anywhere."""

    change: float = 1e-10
    """The sum of all changes in the last iteration."""

    maxiter: int = 1000
    """Iterations after which the solver gives up."""

    seed: int = 0
    """Of R-MAT's random numbers."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""

    def __post_init__(self) -> None:
        if not 0 < self.scale < 40:
            raise ValueError(f"scale={self.scale} is no size of a graph: take 1 to 39")
        if not 0 <= self.alpha < 1:
            raise ValueError(f"alpha={self.alpha} is no probability below 1: take 0.85, say")
        if not 0 < self.change < 1:
            raise ValueError(f"change={self.change} is no share of all ranks, which sum to one: take 1e-10, say")
        if self.maxiter < 1:
            raise ValueError(f"maxiter={self.maxiter} allows no iteration: take 1 or more")


def build(params: Params) -> dict[str, da.Array]:
    A, names = graph(params)
    return {"out": osp.to_host(A @ np.ones(A.shape[0])), "vertices": names}


def solve(params: Params, results: dict) -> dict:
    A, _ = graph(params)
    tol = params.change / A.shape[0]
    rank = osp.linalg.pagerank(A.to_device(), params.alpha, tol=tol, maxiter=params.maxiter)
    return {"rank": osp.to_host(rank)}


def check(params: Params, results: dict) -> list[osp.Check]:
    A, _ = graph(params)
    rank, out, n = results["rank"], results["out"], A.shape[0]
    # With what the transpose has no part in: for any z, that z·rank is alpha times (the mean of z over a vertex's
    # edges)·rank, and the rest the mean of z over all vertices.
    z = da.random.default_rng(np.random.PCG64(1)).choice([-1.0, 1.0], (n, WALKS), chunks=(A.row_chunks, -1))
    steps = da.where(out > 0, 1 / da.where(out > 0, out, 1), 0)[:, None] * (A @ z)
    anew = params.alpha * rank[out == 0].sum() + (1 - params.alpha) * rank.sum()
    off = abs(rank @ z - params.alpha * (rank @ steps) - anew * z.mean(axis=0)).max()
    total, least, error = (float(x) for x in dask.compute(rank.sum(), rank.min() * n, off))
    bound = params.change + 1e-13
    return [
        osp.Check(abs(total - 1) < 1e-9, f"{n:,} ranks sum to one within {abs(total - 1):.1e}", abs(total - 1), 1e-9),
        osp.Check(
            least >= (1 - params.alpha) * (1 - 1e-9),
            f"the least rank is {least:.3f} of the mean, and no vertex has less than {1 - params.alpha:.3f}",
            least,
            1 - params.alpha,
        ),
        osp.Check(
            error <= bound, f"the equation holds to {error:.1e} for {WALKS} random vectors, by A's rows", error, bound
        ),
    ]


def present(params: Params, results: dict, directory: Path) -> list[Path]:
    rank, vertices = dask.compute(results["rank"], results["vertices"])
    first = np.argsort(-rank, kind="stable")[:10]
    print("rank          vertex")
    for place in first:
        print(f"{rank[place]:.6e}  {vertices[place]}")
    return []


def graph(params: Params) -> tuple[osp.sparse.CSRMatrix, da.Array]:
    """The matrix of edges, A[i, j] from i to j, and the vertices' numbers."""
    if params.edges is None:
        n = 2**params.scale
        return osp.sparse.rmat(params.scale, seed=params.seed), da.arange(n, chunks=max(1, n // 16), dtype=np.uint64)
    return listed(params.edges, params.undirected)


@cache
def listed(path: Path, undirected: bool) -> tuple[osp.sparse.CSRMatrix, da.Array]:
    pairs = np.array(list(read_pairs(path)), dtype=np.uint64).reshape(-1, 2)
    if not len(pairs):
        raise osp.WorkflowError(f"{path} has no edge: name a file with two vertex numbers a line")
    names, renamed = np.unique(pairs, return_inverse=True)
    i, j = renamed.reshape(-1, 2).T
    if undirected:
        i, j = np.append(i, j), np.append(j, i)
    print(f"{path.name}: {len(names):,} vertices, {len(i):,} edges")
    A = osp.sparse.from_coo(i, j, np.ones(len(i)), (len(names), len(names)))
    return A, da.from_array(names)


def read_pairs(path: Path) -> Iterator[tuple[int, int]]:
    number = 0
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for number, line in enumerate(lines, 1):
                words = line.partition("#")[0].split()
                if not words:
                    continue
                if len(words) != 2 or not all(word.isdecimal() and int(word) < 2**64 for word in words):
                    raise osp.WorkflowError(
                        f"line {number} of {path} is {line.strip()[:40]!r}: it takes two whole numbers below 2^64"
                    )
                yield int(words[0]), int(words[1])
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise osp.WorkflowError(f"{path} cannot be read beyond line {number}: {error}") from None
