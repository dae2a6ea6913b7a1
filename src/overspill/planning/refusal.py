"""Why a product cannot be planned, in one sentence with both numbers and the way out."""

from collections.abc import Sequence

from overspill.planning import footprint
from overspill.planning.arithmetic import Arithmetic
from overspill.planning.candidates import NARROWEST_PANEL
from overspill.planning.grid import Cut
from overspill.planning.operands import Pair
from overspill.planning.resources import Resources
from overspill.units import format_nbytes


def refusal(
    pair: Pair, dtype: str, per_element: Arithmetic, resources: Resources, tilings: Sequence[tuple[Cut, Cut]]
) -> str:
    """What does not fit, how much it needs, and what to change."""
    a, b = pair.a, pair.b
    pool = format_nbytes(resources.pool_nbytes)
    held = per_element.itemsize * sum(operand.size for operand in pair.held(not a.reread, not b.reread))
    if held > resources.pool_nbytes:
        return (
            f"tile budget {pool} cannot hold the operands that can only be computed once ({format_nbytes(held)}): "
            "raise memory=, or osp.save them and osp.open the result"
        )
    rows, columns = min(tilings, key=lambda cut: cut[0].largest * cut[1].largest)
    space = footprint.Space(per_element, resources, pair, not a.reread, not b.reread, rows, columns)
    tile = f"{rows.largest} × {columns.largest} output tile"
    slots, width = space.slots, min(pair.k, NARROWEST_PANEL)
    if resources.device == "cuda" and space.device_nbytes(width) > resources.device_nbytes:
        return (
            f"device budget {format_nbytes(resources.device_nbytes)} cannot hold one {tile} for each of "
            f"{resources.threads} tasks and their panels ({format_nbytes(space.device_nbytes(width))}): "
            "raise device_memory= or pass smaller chunks="
        )
    largest = max(a, b, key=lambda operand: operand.largest_chunk)
    needed = space.held_nbytes + space.in_flight_nbytes + space.landing_nbytes + slots * space.work_nbytes(width)
    return (
        f"tile budget {pool} cannot hold one {tile}, its panels and the {largest.tallest} × {largest.widest} "
        f"{dtype} chunks it reads for each of {slots} tasks ({format_nbytes(needed)}): "
        "raise memory= or pass smaller chunks="
    )
