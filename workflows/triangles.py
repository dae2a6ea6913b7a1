"""Counts the triangles of a graph as trace(A·A·A) / 6, A its adjacency matrix, from a list of edges.

The file has two vertex numbers a line; blank lines and what follows a '#' are skipped. It may be compressed (.gz).
"""

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np

import overspill as osp


@dataclass(frozen=True)
class Params:
    """Parameters of the count."""

    edges: Path
    """The list of edges."""

    memory: osp.Nbytes | None = None
    """Bytes of tiles that all workers together may hold; half of the free memory unless given."""


def build(params: Params) -> dict[str, da.Array]:
    edges, vertices = read_graph(params.edges)
    side = chunk_side(params)
    a = adjacency(edges, vertices, even_chunks(vertices, side), even_chunks(vertices, side))
    c = osp.matmul(a, a, memory=params.memory)
    # c[i, j] is the number of paths of two edges from i to j: with an edge from j back to i a triangle, seen twice.
    per_vertex = (c * adjacency(edges, vertices, *c.chunks)).sum(axis=1) / 2
    return {"per_vertex": per_vertex, "triangles": per_vertex.sum() / 3}


def check(params: Params, results: dict) -> list[osp.Check]:
    triangles = float(results["triangles"])
    per_vertex = results["per_vertex"]
    fraction = abs(triangles - round(triangles))
    parts, total = (float(x) for x in da.compute(abs(per_vertex - per_vertex.round()).sum(), per_vertex.sum()))
    return [
        osp.Check(fraction == 0, f"the number of triangles, {triangles:,.17g}, is whole", fraction),
        osp.Check(parts == 0, f"the triangles at each of {per_vertex.size:,} vertices are a whole number", parts),
        osp.Check(
            total == 3 * triangles,
            f"they sum to {total:,.17g}, which is {'' if total == 3 * triangles else 'not '}three times as many",
            abs(total - 3 * triangles),
        ),
    ]


def read_graph(path: Path) -> tuple[np.ndarray, int]:
    """Edges as pairs u < v, each once, of vertices numbered from 0, and how many vertices there are."""
    pairs = np.array(list(read_pairs(path)), dtype=np.uint64).reshape(-1, 2)
    names, renamed = np.unique(pairs, return_inverse=True)
    edges = np.sort(renamed.reshape(-1, 2), axis=1)
    loops = edges[:, 0] == edges[:, 1]
    unique = np.unique(edges[~loops], axis=0)
    print(
        f"{path.name}: {len(names):,} vertices, {len(unique):,} edges; left out {loops.sum():,} loops "
        f"and {len(edges) - loops.sum() - len(unique):,} repeated edges"
    )
    return unique, len(names)


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


def adjacency(edges: np.ndarray, vertices: int, rows: tuple[int, ...], columns: tuple[int, ...]) -> da.Array:
    """The symmetric matrix of zeros and ones, in float64, of chunks that each make themselves from a few bytes."""
    row_edges, column_edges = np.cumsum([0, *rows]), np.cumsum([0, *columns])
    i, j = np.concatenate([edges, edges[:, ::-1]]).T
    block = np.searchsorted(row_edges[1:], i, side="right") * len(columns)
    block += np.searchsorted(column_edges[1:], j, side="right")
    order = np.argsort(block, kind="stable")
    starts = np.searchsorted(block[order], np.arange(len(rows) * len(columns) + 1))
    # The same name for the same edges and chunks, in every session: what is stored can be told to be the same.
    name = "adjacency-" + hashlib.sha256(edges.tobytes() + repr((vertices, rows, columns)).encode()).hexdigest()[:32]
    graph = {}
    for p, height in enumerate(rows):
        for q, width in enumerate(columns):
            number = p * len(columns) + q
            mine = order[starts[number] : starts[number + 1]]
            packed = pack(i[mine] - row_edges[p], j[mine] - column_edges[q], height, width)
            graph[name, p, q] = (unpack, packed, height, width)
    return da.Array(graph, name, (rows, columns), dtype=np.float64)


def pack(i: np.ndarray, j: np.ndarray, height: int, width: int) -> bytes:
    """A block with ones at (i, j), as compressed bits: few bytes for few ones, and never many."""
    ones = np.zeros((height, width), bool)
    ones[i, j] = True
    return zlib.compress(np.packbits(ones).tobytes())


def unpack(packed: bytes, height: int, width: int) -> np.ndarray:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.float64)


def even_chunks(size: int, side: int) -> tuple[int, ...]:
    parts = max(1, -(-size // side))
    return tuple((size + part) // parts for part in range(parts))


def chunk_side(params: Params) -> int:
    """Chunks of up to 2048 × 2048, and of no more than a 32nd of the budget where that leaves 128 × 128."""
    most = 2048**2 if params.memory is None else params.memory // (32 * 8)
    return max(128, min(2048, math.isqrt(most)))
