"""The edges of an R-MAT graph, made for one range of rows at a time.

How many edges fall into the upper half of the rows is one binomial number; how many of these into its upper half, the
next. So every range of rows knows its share from a few numbers, and draws its edges without making the others, as
processors do in L. Hübschle-Schneider and P. Sanders, Linear work generation of R-MAT graphs, Network Science 8 (2020).
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from overspill.sparse.generators.chunks import generator
from overspill.storage.triplets import Triplets

Indices: TypeAlias = NDArray[Any]

SHARES = 2**10
"""A range of rows is halved until it has no more than such a share of all edges."""

FEWEST_EDGES, MOST_EDGES = 64, 2**18
"""What that share is at least, lest drawing it costs less than beginning to; and at most, so that blocks are even."""

STRIP_EDGES = 2**15
"""Edges drawn at once: what that takes stays in the core's cache."""


@dataclass(frozen=True, slots=True)
class Quadrants:
    """The chances of a graph of ``2**scale`` vertices: of the upper left, upper right and lower left quadrant."""

    scale: int
    a: float
    b: float
    c: float
    seed: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A range of rows that is not halved further: those whose first `depth` bits are `prefix`, and how many edges."""

    depth: int
    prefix: int
    edges: int

    def rows(self, scale: int) -> int:
        """How many rows, of ``2**scale``."""
        return 1 << (scale - self.depth)


def leaves(quadrants: Quadrants, total: int) -> list[Leaf]:
    """All ranges of rows in order, with their shares of `total` edges.

    Examples
    --------
    >>> sum(leaf.edges for leaf in leaves(Quadrants(10, 0.57, 0.19, 0.19, seed=0), 2000))
    2000
    """
    limit = min(max(total // SHARES, FEWEST_EDGES), MOST_EDGES)
    found, waiting = [], [Leaf(0, 0, total)]
    while waiting:
        leaf = waiting.pop()
        if leaf.edges <= limit or leaf.depth == quadrants.scale:
            found.append(leaf)
            continue
        rng = generator(quadrants.seed, 0, leaf.depth, leaf.prefix)
        upper = int(rng.binomial(leaf.edges, min(1.0, quadrants.a + quadrants.b)))
        waiting.append(Leaf(leaf.depth + 1, 2 * leaf.prefix + 1, leaf.edges - upper))
        waiting.append(Leaf(leaf.depth + 1, 2 * leaf.prefix, upper))
    return found


def edges(quadrants: Quadrants, leaf: Leaf) -> Triplets:
    """The edges in the rows of `leaf`, in no order, each with the value 1."""
    index = np.int32 if quadrants.scale < 31 else np.int64
    rows, columns = np.zeros(leaf.edges, index), np.zeros(leaf.edges, index)
    rng = generator(quadrants.seed, 1, leaf.depth, leaf.prefix)
    for start in range(0, leaf.edges, STRIP_EDGES):
        part = slice(start, min(start + STRIP_EDGES, leaf.edges))
        _strip(rng, quadrants, leaf, rows[part], columns[part])
    return Triplets(rows, columns, np.ones(leaf.edges))


def relabelled(vertices: Indices, quadrants: Quadrants) -> Indices:
    """Other numbers for `vertices`, all different again: odd factors and shifted exclusive ors are one-to-one."""
    rng = generator(quadrants.seed, 2)
    mask = np.uint64(2**quadrants.scale - 1)
    shift = np.uint64(max(1, quadrants.scale // 2))
    mixed = vertices.astype(np.uint64)
    for factor, summand in rng.integers(2**63, size=(4, 2), dtype=np.uint64):
        mixed = (mixed * (factor | np.uint64(1)) + summand) & mask
        mixed ^= mixed >> shift
    return mixed.astype(vertices.dtype)


def _strip(rng: np.random.Generator, quadrants: Quadrants, leaf: Leaf, rows: Indices, columns: Indices) -> None:
    """Draw edges in the rows of `leaf`, as many as there is room for in `rows` and `columns`, which are zero."""
    a, b, c = quadrants.a, quadrants.b, quadrants.c
    rows[...] = leaf.prefix
    for level in range(quadrants.scale):
        chance = rng.random(len(rows), np.float32)
        columns += columns
        if level < leaf.depth:
            lower = leaf.prefix >> (leaf.depth - 1 - level) & 1
            half, left = (1 - a - b, c) if lower else (a + b, a)
            columns += chance >= (left / half if half else 0)
        else:
            below = chance >= a + b
            rows += rows
            rows += below
            columns += (chance >= a) ^ below | (chance >= a + b + c)
