"""The plan of a matrix product: output tiles, K panels, bytes over each link, peaks and seconds, before anything runs.

One task makes one output tile: it streams the row of A and the column of B through two pairs of panel buffers and
accumulates in place. An operand is either *held*, each chunk made once and kept as a tile, or *streamed*: each task
reads or recomputes the chunks it needs, which costs time but no memory.
"""

from dataclasses import dataclass, replace
from typing import Literal

from overspill.errors import MemoryBudgetError
from overspill.planning import candidates, cost, footprint
from overspill.planning.arithmetic import Arithmetic, arithmetic
from overspill.planning.operands import Chunks, Operand
from overspill.planning.refusal import refusal
from overspill.planning.resources import Resources
from overspill.units import format_seconds

WIDEST_PANEL = {"cpu": 2048, "cuda": 8192}
"""K panels wider than this gain nothing and cost buffers."""

NEARLY = 1.02
"""Among plans within this factor of the fastest the one with the smallest tiles is taken: less memory, less lost when a
worker dies, and a progress bar that moves."""


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
    order
        In which order the tiles are made, as far as Dask is free to follow it.
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
    prepare_s
        Seconds to make the held operands, as far as they are not made already.
    predicted_s
        Seconds in all.
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
    order: Literal["row-major"]
    tasks: int
    flop: int
    read_nbytes: int
    recomputed_nbytes: int
    uploaded_nbytes: int
    downloaded_nbytes: int
    peak_device_nbytes: int
    peak_tiles_nbytes: int
    peak_host_nbytes: int
    prepare_s: float
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
    for hold_a, hold_b in candidates.holdings(a, b, per_element.itemsize, resources):
        for rows, columns in candidates.tilings(a, b, chunks):
            if plan := _fit(a, b, dtype, per_element, resources, reason, hold_a, hold_b, rows, columns):
                plans.append(plan)
        if any(plan.hold_result for plan in plans):
            break  # all fits in memory: making a chunk twice gains nothing
    if not plans:
        raise MemoryBudgetError(refusal(a, b, dtype, per_element, resources, chunks))
    fastest = min(plans, key=lambda plan: plan.predicted_s)
    # Making the operands takes its time whatever the tiles: it must not blur what tells tilings apart.
    longest_s = fastest.prepare_s + NEARLY * (fastest.predicted_s - fastest.prepare_s)
    near = [plan for plan in plans if plan.predicted_s <= longest_s]
    return min(near, key=lambda plan: (max(plan.rows) * max(plan.columns), plan.predicted_s))


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
    width = space.widest_panel(min(k, WIDEST_PANEL[resources.device]))
    if width < min(k, candidates.NARROWEST_PANEL):
        return None
    panels = candidates.panels(a.columns, b.rows, width)
    peaks = space.peaks(panels, result=m * n)
    if not peaks:
        return None
    read = {"disk": 0, "recompute": 0}
    if not hold_a and a.reread:
        read[a.reread] += per_element.itemsize * k * candidates.read_elements(a.rows, rows) * len(columns)
    if not hold_b and b.reread:
        read[b.reread] += per_element.itemsize * k * candidates.read_elements(b.columns, columns) * len(rows)
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
    product_s, bound = cost.predict(traffic, resources, per_element.rate)
    prepare_s = cost.prepare_s(traffic, resources)
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
        order="row-major",
        tasks=traffic.tasks,
        flop=traffic.flop,
        read_nbytes=traffic.read_nbytes,
        recomputed_nbytes=traffic.recomputed_nbytes,
        uploaded_nbytes=traffic.uploaded_nbytes,
        downloaded_nbytes=traffic.downloaded_nbytes,
        peak_device_nbytes=peaks.device_nbytes,
        peak_tiles_nbytes=peaks.tiles_nbytes,
        peak_host_nbytes=peaks.host_nbytes,
        prepare_s=prepare_s,
        predicted_s=prepare_s + product_s,
        bound=bound,
        figures=resources.rates.source,
    )
