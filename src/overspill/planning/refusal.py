"""Why a product cannot be planned, in one sentence with both numbers and the way out."""

from overspill.planning import footprint
from overspill.planning.arithmetic import Arithmetic
from overspill.planning.candidates import NARROWEST_PANEL, tilings
from overspill.planning.operands import Chunks, Operand
from overspill.planning.resources import Resources
from overspill.units import format_nbytes


def refusal(
    a: Operand,
    b: Operand,
    dtype: str,
    per_element: Arithmetic,
    resources: Resources,
    chunks: tuple[Chunks, Chunks] | None,
) -> str:
    """What does not fit, how much it needs, and what to change."""
    pool = format_nbytes(resources.pool_nbytes)
    opaque = [operand for operand in (a, b) if not operand.reread]
    held = per_element.itemsize * sum(operand.size for operand in opaque)
    if held > resources.pool_nbytes:
        return (
            f"tile budget {pool} cannot hold the operands that can only be computed once ({format_nbytes(held)}): "
            "raise memory=, or osp.save them and osp.open the result"
        )
    rows, columns = min(tilings(a, b, chunks), key=lambda cut: max(cut[0]) * max(cut[1]))
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
    needed = space.held_nbytes + space.in_flight_nbytes + slots * space.work_nbytes(width)
    return (
        f"tile budget {pool} cannot hold one {tile}, its panels and the {max(largest.rows)} × {max(largest.columns)} "
        f"{dtype} chunks it reads for each of {slots} tasks ({format_nbytes(needed)}): "
        "raise memory= or pass smaller chunks="
    )
