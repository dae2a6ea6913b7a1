"""The plan of a matrix product: output tiles, K panels, bytes over each link, peaks and seconds, before anything runs.

One task makes one output tile: it streams the row of A and the column of B through two pairs of panel buffers and
accumulates in place. An operand is either *held*, each chunk made once and kept as a tile, or *streamed*: each task
reads or recomputes the chunks it needs, which costs time but no memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from overspill.errors import MemoryBudgetError
from overspill.planning import cost, footprint
from overspill.planning.arithmetic import Arithmetic, arithmetic
from overspill.planning.grid import bounds, cover, even, group, intervals
from overspill.planning.resources import Resources
from overspill.units import format_nbytes, format_seconds

Chunks = tuple[int, ...]

WIDEST_PANEL = {"cpu": 2048, "cuda": 8192}
"""K panels wider than this gain nothing and cost buffers."""

NARROWEST_PANEL = 16

FINEST_SPLIT = 512
"""Most parts that an axis of the output is tried in."""

NEARLY = 1.02
"""Among plans within this factor of the fastest the one with the smallest tiles is taken: less memory, less lost when a
worker dies, and a progress bar that moves."""


@dataclass(frozen=True, slots=True)
class Operand:
    """What the planner needs to know of a matrix.

    Attributes
    ----------
    rows, columns
        Chunk sizes along each axis.
    reread
        How a task can have a chunk again without its being held: from ``"disk"``, by ``"recompute"``, or not at all.
    made
        Whether the chunks are in memory already, so that making them costs nothing more.
    """

    rows: Chunks
    columns: Chunks
    reread: Literal["disk", "recompute"] | None = None
    made: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return sum(self.rows) * sum(self.columns)

    @property
    def largest_chunk(self) -> int:
        """Number of elements of the largest chunk."""
        return max(self.rows) * max(self.columns)


@dataclass(frozen=True, slots=True)
class MatmulPlan:
    """One planned product of an (m, k) by a (k, n) matrix.

    Attributes
    ----------
    dtype
        Element type of operands and result.
    side
        ``"numpy"`` or ``"cupy"``: what multiplies.
    reason
        Why that side.
    rows, columns, panels
        Sizes of the output tiles along each axis, and of the K panels.
    hold_a, hold_b
        Whether the operand's chunks are kept as tiles.
    hold_result
        Whether the whole result fits beside them; otherwise its tiles must be used up as they come.
    tasks
        Number of output tiles.
    flop
        Operations.
    read_nbytes, recomputed_nbytes
        Bytes that tasks read from disk or recompute for streamed operands.
    uploaded_nbytes, downloaded_nbytes
        Bytes of panels given to the devices, and of results taken back.
    peak_device_nbytes
        Most bytes on one GPU at a time; 0 on CPUs.
    peak_tiles_nbytes
        Most bytes of tiles, in all pools together.
    peak_host_nbytes
        Most host memory: tiles, what tasks need besides, and the processes themselves.
    predicted_s
        Seconds.
    bound
        What takes the time: ``"compute"``, ``"link"``, ``"disk"`` or ``"recompute"``.
    figures
        Where the rates come from.
    """

    dtype: str
    side: Literal["numpy", "cupy"]
    reason: str
    rows: Chunks
    columns: Chunks
    panels: Chunks
    hold_a: bool
    hold_b: bool
    hold_result: bool
    tasks: int
    flop: int
    read_nbytes: int
    recomputed_nbytes: int
    uploaded_nbytes: int
    downloaded_nbytes: int
    peak_device_nbytes: int
    peak_tiles_nbytes: int
    peak_host_nbytes: int
    predicted_s: float
    bound: str
    figures: str


def plan_matmul(
    a: Operand,
    b: Operand,
    dtype: str,
    resources: Resources,
    *,
    on_device: bool = False,
    chunks: tuple[Chunks, Chunks] | None = None,
) -> MatmulPlan:
    """The fastest plan for ``a @ b`` within `resources`.

    Parameters
    ----------
    a, b
        Operands, neither of them empty.
    dtype
        NumPy name of the element type of both.
    resources
        Workers, budgets and rates.
    on_device
        Whether operands or result live on the GPUs, which settles the side.
    chunks
        Output tile sizes along each axis, when they are given instead of chosen.

    Raises
    ------
    MemoryBudgetError
        If no tiling fits the budgets.
    """
    on_cpu = replace(resources, device="cpu", rates=resources.host_rates)
    if resources.device == "cpu":
        return _best(a, b, dtype, on_cpu, "no GPU among the workers", chunks)
    if on_device:
        return _best(a, b, dtype, resources, "the data lives on the GPUs", chunks)
    streamed = _best(a, b, dtype, resources, "", chunks)
    try:
        plain = _best(a, b, dtype, on_cpu, "", chunks)
    except MemoryBudgetError:
        return replace(streamed, reason="only the GPU's panels fit the budget")
    both = f"{format_seconds(plain.predicted_s)} on the CPU, {format_seconds(streamed.predicted_s)} through the GPU"
    if plain.predicted_s <= streamed.predicted_s:
        return replace(plain, reason=f"too small to be worth the way to the GPU: {both}")
    return replace(streamed, reason=both)


def _best(
    a: Operand,
    b: Operand,
    dtype: str,
    resources: Resources,
    reason: str,
    chunks: tuple[Chunks, Chunks] | None,
) -> MatmulPlan:
    per_element = arithmetic(dtype, resources.device)
    plans: list[MatmulPlan] = []
    for hold_a, hold_b in _holdings(a, b, per_element.itemsize, resources):
        for rows, columns in _tilings(a, b, chunks):
            if plan := _fit(a, b, dtype, per_element, resources, reason, hold_a, hold_b, rows, columns):
                plans.append(plan)
        if any(plan.hold_result for plan in plans):
            break  # all fits in memory: making a chunk twice gains nothing
    if not plans:
        raise MemoryBudgetError(_refusal(a, b, dtype, per_element, resources, chunks))
    fastest = min(plan.predicted_s for plan in plans)
    near = [plan for plan in plans if plan.predicted_s <= NEARLY * fastest]
    return min(near, key=lambda plan: (max(plan.rows) * max(plan.columns), plan.predicted_s))


def _holdings(a: Operand, b: Operand, itemsize: int, resources: Resources) -> Iterator[tuple[bool, bool]]:
    """Which operands to hold, as far as they can be streamed otherwise and fit the pools."""
    for hold_a in (True, False):
        for hold_b in (True, False):
            if (hold_a or a.reread) and (hold_b or b.reread):
                held = itemsize * (hold_a * a.size + hold_b * b.size)
                if held <= resources.pool_nbytes:
                    yield hold_a, hold_b


def _tilings(
    a: Operand, b: Operand, chunks: tuple[Chunks, Chunks] | None
) -> Iterator[tuple[Chunks, Chunks]]:
    """Tile sizes along both axes to try: whole chunks joined, or chunks cut evenly."""
    if chunks is not None:
        yield chunks
        return
    m, n = sum(a.rows), sum(b.columns)
    row_cuts = {group(a.rows, -(-m // parts)) for parts in _parts(m)}
    column_cuts = {group(b.columns, -(-n // parts)) for parts in _parts(n)}
    for rows in row_cuts:
        for columns in column_cuts:
            yield rows, columns


def _parts(size: int) -> Iterator[int]:
    """Numbers of parts to try: each up to 8, then in steps of a quarter."""
    parts = 1
    while parts <= min(size, FINEST_SPLIT):
        yield parts
        parts += max(1, parts // 4)


def _fit(
    a: Operand,
    b: Operand,
    dtype: str,
    per_element: Arithmetic,
    resources: Resources,
    reason: str,
    hold_a: bool,
    hold_b: bool,
    rows: Chunks,
    columns: Chunks,
) -> MatmulPlan | None:
    """The plan for one tiling, with the widest panels that fit; None where none do."""
    m, n, k = sum(rows), sum(columns), sum(a.columns)
    space = footprint.Space(per_element, resources, a, b, hold_a, hold_b, rows, columns)
    width = min(k, WIDEST_PANEL[resources.device], space.widest_panel())
    if width < min(k, NARROWEST_PANEL):
        return None
    panels = _panels(a.columns, b.rows, width)
    peaks = space.peaks(panels, result=m * n)
    if not peaks:
        return None
    read = {"disk": 0, "recompute": 0}
    if not hold_a and a.reread:
        read[a.reread] += per_element.itemsize * k * _read_elements(a.rows, rows) * len(columns)
    if not hold_b and b.reread:
        read[b.reread] += per_element.itemsize * k * _read_elements(b.columns, columns) * len(rows)
    traffic = cost.Traffic(
        tasks=len(rows) * len(columns),
        flop=per_element.flop * m * n * k,
        uploaded_nbytes=per_element.itemsize * k * (m * len(columns) + n * len(rows)),
        downloaded_nbytes=per_element.itemsize * m * n,
        read_nbytes=read["disk"],
        recomputed_nbytes=read["recompute"],
        prepared_nbytes=per_element.itemsize
        * sum(operand.size for operand, hold in ((a, hold_a), (b, hold_b)) if hold and not operand.made),
        largest_tile=max(rows) * max(columns) / (m * n),
        panel_width=max(panels),
        panel_share=max(panels) / k,
    )
    predicted_s, bound = cost.predict(traffic, resources, per_element.rate)
    return MatmulPlan(
        dtype=dtype,
        side="cupy" if resources.device == "cuda" else "numpy",
        reason=reason,
        rows=rows,
        columns=columns,
        panels=panels,
        hold_a=hold_a,
        hold_b=hold_b,
        hold_result=peaks.hold_result,
        tasks=traffic.tasks,
        flop=traffic.flop,
        read_nbytes=traffic.read_nbytes,
        recomputed_nbytes=traffic.recomputed_nbytes,
        uploaded_nbytes=traffic.uploaded_nbytes,
        downloaded_nbytes=traffic.downloaded_nbytes,
        peak_device_nbytes=peaks.device_nbytes,
        peak_tiles_nbytes=peaks.tiles_nbytes,
        peak_host_nbytes=peaks.host_nbytes,
        predicted_s=predicted_s,
        bound=bound,
        figures=resources.rates.source,
    )


@cache
def _panels(a_columns: Chunks, b_rows: Chunks, width: int) -> Chunks:
    """K panels no wider than `width`, on the boundaries of the operand with the wider chunks where they fit."""
    for chunks in sorted((a_columns, b_rows), key=max, reverse=True):
        if max(chunks) <= width:
            return group(chunks, width)
    return even(sum(a_columns), width)


@cache
def _read_elements(chunk_sizes: Chunks, tile_sizes: Chunks) -> int:
    """Elements along an axis that the tiles read together: whole chunks, those on a tile's edge more than once."""
    chunk_bounds = bounds(chunk_sizes)
    return sum(
        chunk_sizes[piece.chunk] for start, stop in intervals(tile_sizes) for piece in cover(chunk_bounds, start, stop)
    )


def _refusal(
    a: Operand,
    b: Operand,
    dtype: str,
    per_element: Arithmetic,
    resources: Resources,
    chunks: tuple[Chunks, Chunks] | None,
) -> str:
    """One sentence on what does not fit, with both numbers and the way out."""
    pool = format_nbytes(resources.pool_nbytes)
    opaque = [operand for operand in (a, b) if not operand.reread]
    held = per_element.itemsize * sum(operand.size for operand in opaque)
    if held > resources.pool_nbytes:
        return (
            f"tile budget {pool} cannot hold the operands that can only be computed once ({format_nbytes(held)}): "
            "raise memory=, or osp.save them and osp.open the result"
        )
    rows, columns = chunks or ((1,), (1,))
    space = footprint.Space(per_element, resources, a, b, not a.reread, not b.reread, rows, columns)
    tile = f"{max(rows)} × {max(columns)} output tile"
    slots, width = space.slots, min(sum(a.columns), NARROWEST_PANEL)
    if resources.device == "cuda" and space.device_nbytes(width) > space.device_budget_nbytes:
        return (
            f"device budget {format_nbytes(resources.device_nbytes)} cannot hold one {tile} and its panels for each of "
            f"{resources.threads} tasks ({format_nbytes(resources.threads * space.device_nbytes(width))}): "
            "raise device_memory= or pass smaller chunks="
        )
    largest = max(a, b, key=lambda operand: operand.largest_chunk)
    needed = held + slots * (2 * space.tile * per_element.itemsize + space.work_nbytes(width))
    return (
        f"tile budget {pool} cannot hold one {tile}, its panels and the {max(largest.rows)} × {max(largest.columns)} "
        f"{dtype} chunks it reads for each of {slots} tasks ({format_nbytes(needed)}): "
        "raise memory= or pass smaller chunks="
    )
