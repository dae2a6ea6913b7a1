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
from overspill.planning.arithmetic import arithmetic
from overspill.planning.grid import Cut, bands
from overspill.planning.matmul_plan import MatmulPlan
from overspill.planning.operands import Chunks, Operand, Pair
from overspill.planning.placement import fetched_nbytes
from overspill.planning.refusal import refusal
from overspill.planning.resources import Resources
from overspill.units import format_seconds

WIDEST_PANELS = {"cpu": (2048,), "cuda": (16384, 8192, 4096)}
"""Widths that K panels have at most, each to be tried. While a GPU multiplies the last panel the tile goes down, best
behind a wide one; the panels at the beginning wait less for each other if they need not grow as wide."""

WIDEST_KEPT_PANELS = (16384, 8192)
"""The same where the result stays on the GPU; those before the last only where there is room beside the data."""

NEARLY = 1.02
"""Among plans within this factor of the fastest the one with the smallest tiles is taken: less memory, less lost when a
worker dies, and a progress bar that moves."""

CLOSE = 1.1
"""Tilings whose plan takes longer than the fastest by more than this factor are not tried with other panels."""

PLANS_KEPT = 64
"""That are remembered: planning takes about a hundredth of a product of seconds, and products are often repeated."""

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
    return _planned(Pair(a, b, same), dtype, resources, keep_on_device, chunks)


@lru_cache(maxsize=PLANS_KEPT)
def _planned(
    pair: Pair, dtype: str, resources: Resources, keep_on_device: bool, chunks: tuple[Chunks, Chunks] | None
) -> MatmulPlan:
    panels = lru_cache(maxsize=PANELS_KEPT)(partial(candidates.panels, pair))
    problem = _Problem(pair, dtype, keep_on_device, candidates.tilings(pair, chunks), panels)
    on_cpu = replace(resources, device="cpu", rates=resources.host_rates)
    if resources.device == "cpu":
        return _best(problem, on_cpu, "no GPU among the workers")
    if keep_on_device or pair.a.on_device or pair.b.on_device:
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
    limits = WIDEST_KEPT_PANELS if problem.keep_on_device else WIDEST_PANELS[resources.device]
    found: list[tuple[MatmulPlan, footprint.Space]] = []
    for holding in candidates.holdings(problem.pair, per_element.itemsize, resources):
        for tiling in problem.tilings:
            space = footprint.Space(per_element, resources, problem.pair, *holding, *tiling)
            if plan := _fit(problem, space, reason, _most(problem, space, limits)):
                found.append((plan, space))
        if any(plan.hold_result for plan, _ in found):
            break  # all fits in memory: making a chunk twice gains nothing
    if not found:
        raise MemoryBudgetError(refusal(problem.pair, problem.dtype, per_element, resources, problem.tilings))
    close_s = CLOSE * min(plan.predicted_s for plan, _ in found)
    narrower = (
        _fit(problem, space, reason, other)
        for plan, space in found
        for other in limits
        if plan.predicted_s <= close_s and other < max(plan.panels)
    )
    plans = [*(plan for plan, _ in found), *filter(None, narrower)]
    fastest = min(plans, key=lambda plan: plan.predicted_s)
    # Making the operands takes its time whatever the tiles: it must not blur what tells tilings apart.
    longest_s = fastest.prepare_s + NEARLY * (fastest.predicted_s - fastest.prepare_s)
    near = [plan for plan in plans if plan.predicted_s <= longest_s]
    return min(near, key=lambda plan: (max(plan.rows) * max(plan.columns), plan.predicted_s))


def _most(problem: _Problem, space: footprint.Space, limits: Sequence[int]) -> int:
    """The first of the `limits` to the width of panels that leaves room for the data, if any of it is on the GPUs."""
    if not problem.keep_on_device:
        return limits[0]
    pair, resources = problem.pair, space.resources
    # Copies of what is on other GPUs: at most of all of it.
    elements = sum(x.size for x in pair.held(True, True) if x.on_device)
    elements += pair.a.row_bounds[-1] * pair.b.column_bounds[-1] // resources.workers
    room = resources.device_nbytes - elements * space.per_element.itemsize
    fitting = (limit for limit in limits if space.device_nbytes(min(limit, pair.k)) <= room)
    return next(fitting, limits[-1])


def _growth(space: footprint.Space) -> float:
    """How many times as long as it takes to go up a panel takes to be multiplied."""
    rates, per_element = space.resources.rates, space.per_element
    upload_s = 0.0
    for operand, cut in ((space.pair.a, space.rows), (space.pair.b, space.columns)):
        # Within a GPU it is read and written, at half of the memory's rate: products read and write there, too.
        rate = rates.memory_per_s / 4 if operand.on_device else rates.upload_per_s
        upload_s += per_element.itemsize * cut.largest / rate
    multiply_s = per_element.flop * space.tile / rates.gemm_flop_per_s[per_element.rate]
    return min(max(candidates.LEAST_GROWTH, multiply_s / upload_s), candidates.MOST_GROWTH)


def _fit(problem: _Problem, space: footprint.Space, reason: str, limit: int) -> MatmulPlan | None:
    """The plan for one tiling, with the widest panels up to `limit` that fit; None where none do."""
    pair, a, b = problem.pair, problem.pair.a, problem.pair.b
    per_element, resources, rows, columns = space.per_element, space.resources, space.rows, space.columns
    hold_a, hold_b = space.hold_a, space.hold_b
    m, n, k = a.row_bounds[-1], b.column_bounds[-1], pair.k
    width = space.widest_panel(min(k, limit))
    if width < min(k, candidates.NARROWEST_PANEL):
        return None
    in_memory = resources.device == "cuda" and hold_a and hold_b  # a streamed chunk cut once more would have to be kept
    there = a.on_device and b.on_device  # copies within a GPU are too short for a narrow panel to pay
    panels = problem.panels(width)
    first_panels = candidates.narrow_first(panels, _growth(space)) if in_memory and not there else panels
    tasks = len(rows.sizes) * len(columns.sizes)
    rounds = -(-tasks // resources.workers)
    if resources.threads == 1 or rounds == 1:  # every tile finds its GPU idle; of CPUs' panels none are narrow
        panels = first_panels
    peaks = space.peaks(max(panels), result=m * n)
    if not peaks:
        return None
    read = {"disk": 0, "recompute": 0}
    if not hold_a and a.reread:
        read[a.reread] += per_element.itemsize * k * rows.read * len(columns.sizes)
    if not hold_b and b.reread:
        read[b.reread] += per_element.itemsize * k * columns.read * len(rows.sizes)
    starting = () if there else first_panels[: first_panels.index(max(first_panels)) + 1]
    result_nbytes = per_element.itemsize * m * n
    in_bands = not problem.keep_on_device and per_element.rate != "integer"
    traffic = cost.Traffic(
        tasks=tasks,
        flop=per_element.flop * m * n * k,
        # Chunks on GPUs cross from one to another first, and are copied into panels.
        uploaded_nbytes=per_element.itemsize * k * (m * len(columns.sizes) + n * len(rows.sizes)),
        downloaded_nbytes=0 if problem.keep_on_device else result_nbytes,
        read_nbytes=read["disk"],
        recomputed_nbytes=read["recompute"],
        prepared_nbytes=per_element.itemsize * sum(x.size for x in pair.held(hold_a, hold_b) if not x.made),
        largest_tile=space.tile / (m * n),
        panel_width=k * rounds / (len(first_panels) + (rounds - 1) * len(panels)),
        first_panels=tuple(panel / k for panel in starting),
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
        first_panels=first_panels,
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
