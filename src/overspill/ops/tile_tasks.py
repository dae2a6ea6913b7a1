"""The tasks of a product: each makes one output tile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import dask.array as da
from dask._task_spec import List, Task, TaskRef

from overspill import backend
from overspill.ops.recipes import in_memory, kind, making_nbytes, recipes
from overspill.ops.residence import holds_tiles
from overspill.planning import placement
from overspill.planning.grid import cover, intervals
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.operands import Operand
from overspill.stream.device import TileShape
from overspill.stream.product import TileTask, multiply_tile
from overspill.stream.strip import Reread

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


def beginnings(plan: MatmulPlan, workers: int) -> dict[Tile, Tile]:
    """For each tile, the one with which its worker begins, with narrow panels; empty where all begin alike."""
    if plan.first_panels == plan.panels:
        return {}
    return placement.beginnings(product(range(len(plan.rows)), range(len(plan.columns))), workers)


def tile_tasks(
    name: str,
    sources: Sequence[Source],
    held: Sequence[da.Array],
    plan: MatmulPlan,
    first: Mapping[Tile, Tile],
    *,
    keep_on_device: bool,
) -> dict[Any, Task]:
    """One task an output tile of the product `name`; its operands are `held`, or made anew, as the plan says.

    `first` is what `beginnings` found.
    """
    (a, b), (a_held, b_held) = (one.operand for one in sources), held
    panels, first_panels = intervals(plan.panels), intervals(plan.first_panels)
    largest = (max(plan.rows), max(plan.columns))
    tasks = {}
    for i, rows in enumerate(intervals(plan.rows)):
        row_pieces = cover(a.row_bounds, *rows)
        for j, columns in enumerate(intervals(plan.columns)):
            column_pieces = cover(b.column_bounds, *columns)
            begins = first.get((i, j), (i, j))
            task = TileTask(
                shape=TileShape((rows[1] - rows[0], columns[1] - columns[0]), largest, max(plan.panels)),
                dtype=plan.dtype,
                rows=row_pieces,
                columns=column_pieces,
                a_bounds=a.column_bounds,
                b_bounds=b.row_bounds,
                panels=first_panels if begins == (i, j) else panels,
                side=plan.side,
                keep_on_device=keep_on_device,
                first=begins if begins != (i, j) else None,
            )
            a_keys = [[(p.chunk, k) for k in range(len(a.columns))] for p in row_pieces]
            b_keys = [[(k, p.chunk) for k in range(len(b.rows))] for p in column_pieces]
            tasks[name, i, j] = Task(
                (name, i, j),
                multiply_tile,
                task,
                _chunks(a_keys, a_held if plan.hold_a else None, sources[0]),
                _chunks(b_keys, b_held if plan.hold_b else None, sources[1]),
            )
    return tasks


def _chunks(indices: list[list[tuple[int, int]]], held: da.Array | None, source: Source) -> Any:
    """A strip's chunks as a task takes them: references to held chunks, or recipes."""
    if held is not None:
        return List(*(List(*(TaskRef((held.name, *index)) for index in row)) for row in indices))
    assert source.recipes is not None
    return [[source.recipes[source.array.name, *index] for index in row] for row in indices]
