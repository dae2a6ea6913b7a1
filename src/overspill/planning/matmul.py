"""The plan of a matrix product: output tiles, K panels, bytes over each link, peaks and seconds, before anything runs.

One task makes one output tile: it streams the row of A and the column of B through two pairs of panel buffers and
accumulates in place. An operand is either *held*, each chunk made once and kept as a tile, or *streamed*: each task
reads or recomputes the chunks it needs, which costs time but no memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from overspill.errors import MemoryBudgetError
from overspill.planning import candidates, cost, footprint
from overspill.planning.arithmetic import Arithmetic, arithmetic
from overspill.planning.grid import Cut, bands
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.operands import Chunks, Operand, Pair
from overspill.planning.placement import fetched_nbytes
from overspill.planning.refusal import refusal
from overspill.planning.resources import Resources
from overspill.units import format_seconds

WIDEST_PANEL = {"cpu": 2048, "cuda": 8192}
"""K panels wider than this gain nothing and cost buffers."""

NEARLY = 1.02
"""Among plans within this factor of the fastest the one with the smallest tiles is taken: less memory, less lost when a
worker dies, and a progress bar that moves."""

PANELS_KEPT = 512
"""Widths whose panels are remembered while a product is planned: most candidates share theirs with another."""


def plan_matmul(
    a: Operand,
    b: Operand,
    dtype: str,
    resources: Resources,
    *,
    same: bool = False,
    keep_on_device: bool = False,
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
    same
        Whether `a` and `b` are one array, which is held for both sides or for neither.
    keep_on_device
        Whether the result stays on the GPUs; that, as operands there, settles the side.
    chunks
        Output tile sizes along each axis, when they are given instead of chosen.

    Raises
    ------
    MemoryBudgetError
        If no tiling fits the budgets.
    """
    pair = Pair(a, b, same)
    panels = lru_cache(maxsize=PANELS_KEPT)(partial(candidates.panels, pair))
    problem = _Problem(pair, dtype, keep_on_device, candidates.tilings(pair, chunks), panels)
    on_cpu = replace(resources, device="cpu", rates=resources.host_rates)
    if resources.device == "cpu":
        return _best(problem, on_cpu, "no GPU among the workers")
    if keep_on_device or a.on_device or b.on_device:
        plan = _best(problem, resources, "the data lives on the GPUs")
        itemsize = arithmetic(dtype, "cuda").itemsize
        return replace(plan, fetched_nbytes=fetched_nbytes(pair, plan.rows, plan.columns, itemsize, resources.workers))
    streamed = _best(problem, resources, "")
    try:
        plain = _best(problem, on_cpu, "")
    except MemoryBudgetError:
        return replace(streamed, reason="only the GPU's panels fit the budget")
    both = f"{format_seconds(plain.predicted_s)} on the CPU, {format_seconds(streamed.predicted_s)} through the GPU"
    if plain.predicted_s <= streamed.predicted_s:
        return replace(plain, reason=f"too small to be worth the way to the GPU: {both}")
    return replace(streamed, reason=both)


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is to be planned, and what all candidates draw on: the tilings to try, and the panels by their width."""

    pair: Pair
    dtype: str
    keep_on_device: bool
    tilings: Sequence[tuple[Cut, Cut]]
    panels: Callable[[int], Chunks]


def _best(problem: _Problem, resources: Resources, reason: str) -> MatmulPlan:
    per_element = arithmetic(problem.dtype, resources.device)
    plans: list[MatmulPlan] = []
    for holding in candidates.holdings(problem.pair, per_element.itemsize, resources):
        for tiling in problem.tilings:
            if plan := _fit(problem, per_element, resources, reason, holding, tiling):
                plans.append(plan)
        if any(plan.hold_result for plan in plans):
            break  # all fits in memory: making a chunk twice gains nothing
    if not plans:
        raise MemoryBudgetError(refusal(problem.pair, problem.dtype, per_element, resources, problem.tilings))
    fastest = min(plans, key=lambda plan: plan.predicted_s)
    # Making the operands takes its time whatever the tiles: it must not blur what tells tilings apart.
    longest_s = fastest.prepare_s + NEARLY * (fastest.predicted_s - fastest.prepare_s)
    near = [plan for plan in plans if plan.predicted_s <= longest_s]
    return min(near, key=lambda plan: (max(plan.rows) * max(plan.columns), plan.predicted_s))


def _fit(
    problem: _Problem,
    per_element: Arithmetic,
    resources: Resources,
    reason: str,
    holding: tuple[bool, bool],
    tiling: tuple[Cut, Cut],
) -> MatmulPlan | None:
    """The plan for one tiling, with the widest panels that fit; None where none do."""
    pair, a, b = problem.pair, problem.pair.a, problem.pair.b
    (hold_a, hold_b), (rows, columns) = holding, tiling
    m, n, k = a.row_bounds[-1], b.column_bounds[-1], pair.k
    space = footprint.Space(per_element, resources, pair, hold_a, hold_b, rows, columns)
    width = space.widest_panel(min(k, WIDEST_PANEL[resources.device]))
    if width < min(k, candidates.NARROWEST_PANEL):
        return None
    in_memory = resources.device == "cuda" and hold_a and hold_b  # a streamed chunk cut once more would have to be kept
    panels = candidates.narrow_first(problem.panels(width)) if in_memory else problem.panels(width)
    peaks = space.peaks(max(panels), result=m * n)
    if not peaks:
        return None
    read = {"disk": 0, "recompute": 0}
    if not hold_a and a.reread:
        read[a.reread] += per_element.itemsize * k * rows.read * len(columns.sizes)
    if not hold_b and b.reread:
        read[b.reread] += per_element.itemsize * k * columns.read * len(rows.sizes)
    result_nbytes = per_element.itemsize * m * n
    in_bands = not problem.keep_on_device and per_element.rate != "integer"
    traffic = cost.Traffic(
        tasks=len(rows.sizes) * len(columns.sizes),
        flop=per_element.flop * m * n * k,
        # Panels of chunks on GPUs are copied too, and cross from one to another first: not to be had for nothing.
        uploaded_nbytes=per_element.itemsize * k * (m * len(columns.sizes) + n * len(rows.sizes)),
        downloaded_nbytes=0 if problem.keep_on_device else result_nbytes,
        read_nbytes=read["disk"],
        recomputed_nbytes=read["recompute"],
        prepared_nbytes=per_element.itemsize * sum(x.size for x in pair.held(hold_a, hold_b) if not x.made),
        largest_tile=space.tile / (m * n),
        panel_width=k / len(panels),
        first_panel=panels[0] / k,
        last_panel=panels[-1] / k,
        last_band=bands(rows.largest, columns.largest)[-1] / rows.largest if in_bands else 1.0,
    )
    product_s, bound = cost.predict(traffic, resources, per_element.rate)
    prepare_s = cost.prepare_s(traffic, resources)
    return MatmulPlan(
        dtype=problem.dtype,
        side="cupy" if resources.device == "cuda" else "numpy",
        reason=reason,
        rows=rows.sizes,
        columns=columns.sizes,
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
        downloaded_nbytes=result_nbytes,
        peak_device_nbytes=peaks.device_nbytes,
        driver_nbytes=peaks.driver_nbytes,
        fetched_nbytes=0,
        peak_tiles_nbytes=peaks.tiles_nbytes,
        peak_host_nbytes=peaks.host_nbytes,
        prepare_s=prepare_s,
        predicted_s=prepare_s + product_s,
        bound=bound,
        figures=resources.rates.source,
    )
