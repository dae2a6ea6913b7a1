"""R-MAT: random graphs with few vertices of very many edges, as Graph500 makes them."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from overspill.errors import UsageError
from overspill.sparse.block import Block
from overspill.sparse.generators.chunks import even_rows
from overspill.sparse.generators.quadrants import Leaf, Quadrants, edges, leaves, relabelled
from overspill.sparse.matrix import CSRMatrix, of_function
from overspill.sparse.partition import balanced, block_count
from overspill.sparse.triplets import assembled, of_pieces
from overspill.storage.triplets import Triplets


def rmat(
    scale: int,
    edge_factor: int = 16,
    a: float = 0.57,
    b: float = 0.19,
    c: float = 0.19,
    *,
    permute: bool = False,
    dtype: Any = np.float64,
    seed: int = 0,
    blocks: int | None = None,
) -> CSRMatrix:
    """The adjacency matrix of a random directed graph: entry (i, j) is the number of edges from i to j.

    Every edge falls into one quadrant of the matrix, then into one of that quadrant's, and so on [1]_; the default
    chances are those of Graph500 [2]_. As there, edges may repeat and may join a vertex to itself; repeated ones are
    summed. Graph500 then takes its edges for undirected, which this matrix, of edges as they are drawn, does not.

    Parameters
    ----------
    scale
        The graph has ``2**scale`` vertices.
    edge_factor
        Edges for each vertex, those that repeat counted.
    a, b, c
        Chances of the upper left, upper right and lower left quadrant; the lower right one has the rest.
    permute
        Whether to number the vertices at random, as Graph500 does; otherwise those of many edges come first. Blocks
        are then put together from edges that all tasks make, which all are held, or spilled, at once; otherwise each
        block's task makes only its own.
    dtype
        Of the entries.
    seed
        Which graph; the same one however many `blocks` there are, and on every machine.
    blocks
        How many row blocks to make, of like many edges; about one for each 256 MiB unless given. Rows are divided no
        finer than into some thousand parts.

    Returns
    -------
    CSRMatrix
        Lazy; of shape ``(2**scale, 2**scale)``. How many entries are stored is not known until it is computed.

    Raises
    ------
    UsageError
        If the chances are negative or add up to more than 1, or `scale` or `edge_factor` is negative.

    References
    ----------
    .. [1] D. Chakrabarti, Y. Zhan, C. Faloutsos, R-MAT: A recursive model for graph mining, SDM (2004).
    .. [2] Graph500 benchmark specification, https://graph500.org/?page_id=12.

    Examples
    --------
    >>> A = rmat(8, seed=3)
    >>> A.shape, A.to_scipy().sum()
    ((256, 256), np.float64(4096.0))
    """
    if not 0 <= scale <= 62 or edge_factor < 0:
        raise UsageError(f"scale={scale} and edge_factor={edge_factor} are not from 0 to 62, and 0 or more")
    if min(a, b, c) < 0 or a + b + c > 1:
        raise UsageError(f"a={a}, b={b}, c={c} are no chances of three of four quadrants: 0 or more, together up to 1")
    dtype = np.dtype(dtype)
    n, total = 2**scale, edge_factor * 2**scale
    number = block_count(blocks, total, dtype.itemsize)
    quadrants = Quadrants(scale, a, b, c, seed)
    parts = leaves(quadrants, total)
    sizes = balanced(np.array([leaf.edges for leaf in parts]), number)
    runs = [tuple(parts[start:stop]) for start, stop in pairwise(accumulate(sizes, initial=0))]
    if permute:
        even = [Block(len(rows), (0, n), None) for rows in even_rows(n, number)]
        pieces = [(quadrants, run) for run in runs]
        return of_pieces(_relabelled, pieces, name="rmat", shape=(n, n), dtype=dtype, blocks=even)
    described = [Block(sum(leaf.rows(scale) for leaf in run), (0, n), None) for run in runs]
    first_rows = accumulate((block.rows for block in described), initial=0)
    arguments = [
        (quadrants, run, first, block, dtype) for run, first, block in zip(runs, first_rows, described, strict=False)
    ]
    return of_function(_block, arguments, name="rmat", shape=(n, n), dtype=dtype, blocks=described)


def _block(quadrants: Quadrants, run: Sequence[Leaf], first_row: int, block: Block, dtype: np.dtype[Any]) -> Any:
    return assembled([edges(quadrants, leaf) for leaf in run], first_row, block, dtype)


def _relabelled(quadrants: Quadrants, run: Sequence[Leaf]) -> Iterator[Triplets]:
    for leaf in run:
        found = edges(quadrants, leaf)
        yield Triplets(relabelled(found.rows, quadrants), relabelled(found.columns, quadrants), found.values)
