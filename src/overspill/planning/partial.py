"""The plan of a product of which only some tiles are needed: `c[:10]`, a block, the diagonal. Integers only."""

from collections.abc import Collection
from dataclasses import replace

from overspill.planning.matmul_plan import MatmulPlan


def partial(plan: MatmulPlan, tiles: Collection[tuple[int, int]], slots: int) -> MatmulPlan:
    """What of `plan` it takes to make `tiles` alone, on workers that run `slots` tasks at a time.

    Tasks, operations and the bytes to and from the devices are exact. Bytes read and recomputed are where tiles and
    chunks have common boundaries. Seconds are scaled, by rounds of tasks where that is more; peaks are the whole
    product's, which these tiles do not exceed.

    Parameters
    ----------
    plan
        Of all tiles.
    tiles
        Indices of at least one of them, by row and column.
    slots
        Tasks that run at a time.
    """
    whole = len(plan.rows) * len(plan.columns)
    if len(tiles) == whole:
        return plan
    m, n = sum(plan.rows), sum(plan.columns)
    elements = sum(plan.rows[i] * plan.columns[j] for i, j in tiles)
    heights = sum(plan.rows[i] for i, _ in tiles)
    widths = sum(plan.columns[j] for _, j in tiles)
    sides = m * len(plan.columns) + n * len(plan.rows)
    streamed = (not plan.hold_a) * heights + (not plan.hold_b) * widths
    of_streamed = (not plan.hold_a) * m * len(plan.columns) + (not plan.hold_b) * n * len(plan.rows)
    prepare_s = plan.prepare_s * min(1.0, _lines_needed(plan, tiles))
    rounds = -(-len(tiles) // slots) / -(-whole // slots)
    product_s = (plan.predicted_s - plan.prepare_s) * max(rounds, elements / (m * n))
    return replace(
        plan,
        tasks=len(tiles),
        flop=plan.flop * elements // (m * n),
        read_nbytes=-(-plan.read_nbytes * streamed // max(1, of_streamed)),
        recomputed_nbytes=-(-plan.recomputed_nbytes * streamed // max(1, of_streamed)),
        uploaded_nbytes=plan.uploaded_nbytes * (heights + widths) // sides,
        downloaded_nbytes=plan.downloaded_nbytes * elements // (m * n),
        prepare_s=prepare_s,
        predicted_s=prepare_s + product_s,
    )


def _lines_needed(plan: MatmulPlan, tiles: Collection[tuple[int, int]]) -> float:
    """Share of the held operands that `tiles` take, at most: both may be one array, or one of them made already."""
    of_a = sum(plan.rows[i] for i in {i for i, _ in tiles}) / sum(plan.rows)
    of_b = sum(plan.columns[j] for j in {j for _, j in tiles}) / sum(plan.columns)
    return plan.hold_a * of_a + plan.hold_b * of_b
