"""Which of several equal workers makes which tile of a product: as many each, near each other. Integers only."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import product
from typing import Any

from overspill.planning.operands import Chunks, Pair

PRODUCT_NAME = "overspill-tile-product"
"""Layers of products bear this name, so that schedulers know their tasks; as of all that makes tiles, its first part is
`ops.residence.TILE_NAME`."""


def is_of_product(key: Any) -> bool:
    """Whether a task makes a tile of a product, alone or, as Dask joins the names of those that it fuses, with more.

    Examples
    --------
    >>> is_of_product((f"{PRODUCT_NAME}-add-0123", 4, 0)), is_of_product(("add-0123", 4, 0)), is_of_product("add")
    (True, False, False)
    """
    return isinstance(key, tuple) and isinstance(key[0], str) and PRODUCT_NAME in key[0]


def placed(positions: Iterable[tuple[int, int]], workers: int) -> dict[tuple[int, int], int]:
    """The worker, counted from 0, that makes the tile at each position of a grid; always the same for the same grid.

    No worker gets more than one tile more than another one. Of such placements, rectangles and runs along the rows or
    the columns, back and forth, it is the one whose workers need the fewest rows of the left and columns of the right
    operand: that much less is mapped, page-locked and fetched.

    Parameters
    ----------
    positions
        Row and column of each tile; the grid may have gaps.
    workers
        Number of workers, 1 or more.

    Examples
    --------
    >>> owners = placed([(i, j) for i in range(4) for j in range(4)], 4)
    >>> [[owners[i, j] for j in range(4)] for i in range(4)]
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    tiles = sorted(set(positions))
    if not tiles:
        return {}
    workers = min(workers, len(tiles))
    rows = _ranks(i for i, _ in tiles)
    columns = _ranks(j for _, j in tiles)
    candidates = []
    for down in range(1, workers + 1):
        across, rest = divmod(workers, down)
        if rest == 0:
            bands = {i: rank * down // len(rows) * across for i, rank in rows.items()}
            parts = {j: rank * across // len(columns) for j, rank in columns.items()}
            candidates.append({(i, j): bands[i] + parts[j] for i, j in tiles})
    along_rows = sorted(tiles, key=lambda tile: (tile[0], (-1) ** rows[tile[0]] * tile[1]))
    along_columns = sorted(tiles, key=lambda tile: (tile[1], (-1) ** columns[tile[1]] * tile[0]))
    candidates += [
        {tile: number * workers // len(tiles) for number, tile in enumerate(snake)}
        for snake in (along_rows, along_columns)
    ]
    return min((owners for owners in candidates if _is_even(owners, workers)), key=_reach)


def beginnings(positions: Iterable[tuple[int, int]], workers: int) -> dict[tuple[int, int], tuple[int, int]]:
    """For each tile, the one that its worker makes first of those which `placed` gives it.

    That is the last one by name: of tasks that wait for nothing, Dask begins with that.

    Examples
    --------
    >>> beginnings([(0, j) for j in range(4)], 2)
    {(0, 0): (0, 1), (0, 1): (0, 1), (0, 2): (0, 3), (0, 3): (0, 3)}
    """
    owners = placed(positions, workers)
    first = {worker: max(tiles, key=str) for worker, tiles in _by_owner(owners).items()}
    return {tile: first[worker] for tile, worker in owners.items()}


def fetched_nbytes(pair: Pair, rows: Chunks, columns: Chunks, itemsize: int, workers: int) -> int:
    """Most bytes of chunks on other workers' GPUs that one worker's tiles need, wherever each chunk lies.

    Parameters
    ----------
    pair
        The operands; those whose chunks are in host memory do not count.
    rows, columns
        Sizes of the tiles.
    itemsize
        Of an element, in bytes.
    workers
        Number of GPUs, over which each operand is spread evenly.
    """
    owners = placed(product(range(len(rows)), range(len(columns))), workers)
    most = 0
    for of_a, of_b in _touched(owners):
        needed = [(pair.a, sum(rows[i] for i in of_a)), (pair.b, sum(columns[j] for j in of_b))]
        elsewhere = [
            min(side * pair.k, operand.size - operand.size // workers) for operand, side in needed if operand.on_device
        ]
        most = max(most, sum(elsewhere))
    return itemsize * most


def _ranks(values: Iterable[int]) -> dict[int, int]:
    return {value: rank for rank, value in enumerate(sorted(set(values)))}


def _is_even(owners: dict[tuple[int, int], int], workers: int) -> bool:
    counts = Counter(owners.values())
    return len(counts) == workers and max(counts.values()) - min(counts.values()) <= 1


def _reach(owners: dict[tuple[int, int], int]) -> int:
    """Most rows and columns that one worker's tiles touch."""
    return max(len(rows) + len(columns) for rows, columns in _touched(owners))


def _touched(owners: dict[tuple[int, int], int]) -> Iterable[tuple[set[int], set[int]]]:
    """The rows, and the columns, of each worker's tiles."""
    return [({i for i, _ in tiles}, {j for _, j in tiles}) for tiles in _by_owner(owners).values()]


def _by_owner(owners: dict[tuple[int, int], int]) -> dict[int, list[tuple[int, int]]]:
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for tile, worker in owners.items():
        found[worker].append(tile)
    return found
