"""The tasks of a product: each makes one output tile."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import dask.array as da
from dask._task_spec import List, Task, TaskRef
from dask.base import tokenize

from overspill import backend
from overspill.ops.recipes import in_memory, kind, making_nbytes, recipes
from overspill.ops.residence import holds_tiles
from overspill.planning import placement
from overspill.planning.grid import cover, intervals
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.operands import Operand
from overspill.planning.placement import AT_HAND_NAME
from overspill.stream.device import TileShape
from overspill.stream.product import TileTask, multiply_tile
from overspill.stream.strip import Reread

THREADS = 2
"""Tasks of a GPU at a time: so many tiles begin at once whatever they wait for."""

Tile = tuple[int, int]
"""Row and column of an output tile in the grid."""


@dataclass(frozen=True, slots=True)
class Source:
    """An operand, and how its chunks reach the tasks."""

    array: da.Array
    operand: Operand
    recipes: dict[Any, Reread] | None


def source_of(x: da.Array) -> Source:
    """What the tasks of a product are told of an operand."""
    rows, columns = (tuple(size for size in axis if size) for axis in x.chunks)
    if any(0 in axis for axis in x.chunks):
        x = x.rechunk((rows, columns))
    on_device = backend.residence_of(x._meta) == "device"
    if in_memory(x):
        loose = not on_device and not holds_tiles(x)
        return Source(x, Operand(rows, columns, made=True, loose=loose, on_device=on_device), None)
    found = recipes(x)
    if found is None:
        return Source(x, Operand(rows, columns, on_device=on_device), None)
    return Source(
        x, Operand(rows, columns, kind(found), on_device=on_device, making_nbytes=making_nbytes(x, found)), found
    )


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Which tiles begin with narrow panels, since they find their GPU idle.

    Attributes
    ----------
    first
        For each tile, the one with which its worker begins, as far as can be told; itself where all begin alike.
    at_hand
        Those of which other tiles wait until all that they need is at their worker. Dask begins with what is ready, so
        where a single chunk of theirs was elsewhere, both threads began with others: two GPUs, each with three tiles
        of 16384 x 24576, took 2.33 s then and not 2.21 s.
    """

    first: Mapping[Tile, Tile]
    at_hand: frozenset[Tile]


def beginnings(plan: MatmulPlan, sources: Sequence[Source], workers: int) -> Beginnings:
    """Those of a product that so many workers make."""
    tiles = list(product(range(len(plan.rows)), range(len(plan.columns))))
    if plan.first_panels == plan.panels:
        return Beginnings({tile: tile for tile in tiles}, frozenset())
    first = placement.beginnings(tiles, workers)
    # What is yet to be made is made when Dask sees fit, and chunks on GPUs take their time to be fetched.
    in_memory = all(one.operand.made and not one.operand.loose and not one.operand.on_device for one in sources)
    held_up = Counter(first.values()) if in_memory and workers > 1 else {}
    return Beginnings(first, frozenset(tile for tile, count in held_up.items() if count > THREADS))


@dataclass(frozen=True, slots=True)
class TileTasks:
    """The tasks of one product.

    Attributes
    ----------
    tiles
        One for each output tile, by key.
    at_hand
        Those that others wait for, by key.
    """

    tiles: dict[Any, Task]
    at_hand: dict[Any, Task]


def tile_tasks(
    name: str,
    sources: Sequence[Source],
    held: Sequence[da.Array],
    plan: MatmulPlan,
    begun: Beginnings,
    *,
    keep_on_device: bool,
) -> TileTasks:
    """The tasks of the product `name`, its operands `held` or made anew as the plan says."""
    (a, b), (a_held, b_held) = (one.operand for one in sources), held
    panels, first_panels = intervals(plan.panels), intervals(plan.first_panels)
    largest = (max(plan.rows), max(plan.columns))
    from_host = not (a.on_device and b.on_device)
    row_pieces = [cover(a.row_bounds, *rows) for rows in intervals(plan.rows)]
    column_pieces = [cover(b.column_bounds, *columns) for columns in intervals(plan.columns)]

    def chunks(i: int, j: int) -> tuple[Any, Any]:
        a_keys = [[(piece.chunk, k) for k in range(len(a.columns))] for piece in row_pieces[i]]
        b_keys = [[(k, piece.chunk) for k in range(len(b.rows))] for piece in column_pieces[j]]
        return (
            _chunks(a_keys, a_held if plan.hold_a else None, sources[0]),
            _chunks(b_keys, b_held if plan.hold_b else None, sources[1]),
        )

    at_hand = {
        tile: Task((f"{AT_HAND_NAME}-{tokenize(name)}", *tile), _nothing, *chunks(*tile)) for tile in begun.at_hand
    }
    tiles = {}
    for i, j in product(range(len(plan.rows)), range(len(plan.columns))):
        first = begun.first[i, j]
        task = TileTask(
            shape=TileShape((plan.rows[i], plan.columns[j]), largest, max(plan.panels)),
            dtype=plan.dtype,
            rows=row_pieces[i],
            columns=column_pieces[j],
            a_bounds=a.column_bounds,
            b_bounds=b.row_bounds,
            panels=first_panels if first == (i, j) else panels,
            side=plan.side,
            keep_on_device=keep_on_device,
            gives_way=from_host and first != (i, j),
        )
        awaited = [TaskRef(at_hand[first].key)] if first in at_hand and first != (i, j) else []
        tiles[name, i, j] = Task((name, i, j), multiply_tile, task, *chunks(i, j), *awaited)
    return TileTasks(tiles, {task.key: task for task in at_hand.values()})


def _nothing(*_: object) -> None:
    """What is left of chunks that only have to be there."""


def _chunks(indices: list[list[tuple[int, int]]], held: da.Array | None, source: Source) -> Any:
    """A strip's chunks as a task takes them: references to held chunks, or recipes."""
    if held is not None:
        return List(*(List(*(TaskRef((held.name, *index)) for index in row)) for row in indices))
    assert source.recipes is not None
    return [[source.recipes[source.array.name, *index] for index in row] for row in indices]
