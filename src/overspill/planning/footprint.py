"""What one product needs in bytes: on a device, in the pools, and in the host's memory. Integers only."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from mmap import PAGESIZE

from overspill.planning.arithmetic import Arithmetic
from overspill.planning.grid import bounds, cover, intervals
from overspill.planning.operands import Chunks, Operand
from overspill.planning.resources import Resources

PROCESS_NBYTES = 224 * 2**20
"""A Python process with NumPy, SciPy and Dask, before any array: measured, rounded up."""

CHUNK_COPIES = 2
"""Copies of a chunk that exist while it is read or recomputed: the chunk, and what it is made from."""

TILES_IN_FLIGHT = 2
"""Output tiles of a slot at a time when the result is not held: one being made, one being used up."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Most bytes at a time, and whether the whole result is counted among them.

    Attributes
    ----------
    device_nbytes
        On one GPU; 0 on CPUs.
    tiles_nbytes
        Tiles in all pools together.
    host_nbytes
        Host memory of all processes, shared pages counted once.
    hold_result
        Whether the whole result fits the pools.
    """

    device_nbytes: int
    tiles_nbytes: int
    host_nbytes: int
    hold_result: bool


@dataclass(frozen=True, slots=True)
class Space:
    """The room that one tiling of a product takes, as a function of its panel width."""

    per_element: Arithmetic
    resources: Resources
    a: Operand
    b: Operand
    hold_a: bool
    hold_b: bool
    rows: Chunks
    columns: Chunks

    @property
    def tile(self) -> int:
        """Elements of the largest output tile."""
        return max(self.rows) * max(self.columns)

    @property
    def sides(self) -> int:
        """Elements that one unit of panel width adds to a pair of panels."""
        return max(self.rows) + max(self.columns)

    @property
    def slots(self) -> int:
        """Tasks that run at a time."""
        return self.resources.workers * self.resources.threads

    @property
    def device_budget_nbytes(self) -> int:
        """What one task may use of its GPU."""
        return self.resources.device_nbytes // self.resources.threads

    @property
    def held_nbytes(self) -> int:
        """Tiles of the held operands."""
        held = [operand for operand, hold in ((self.a, self.hold_a), (self.b, self.hold_b)) if hold]
        return sum(tiles_nbytes(x.size * self.per_element.itemsize, len(x.rows) * len(x.columns)) for x in held)

    @property
    def in_flight_nbytes(self) -> int:
        """Tiles of a result that is used up as it comes."""
        return self.slots * TILES_IN_FLIGHT * tiles_nbytes(self.tile * self.per_element.itemsize, 1)

    def device_nbytes(self, width: int) -> int:
        """Device buffers of one task: the output tile, two pairs of panels, and what the product itself needs."""
        return self.tile * self.per_element.tile_itemsize + width * self._per_width()

    def work_nbytes(self, width: int) -> int:
        """Host memory of one task besides its output tile."""
        if self.resources.device == "cpu":
            accumulator = self.tile * (self.per_element.tile_itemsize - self.per_element.itemsize)
            buffers = accumulator + width * self._per_width()
        else:
            streamed = (not self.hold_a) * max(self.rows) + (not self.hold_b) * max(self.columns)
            buffers = 2 * width * streamed * self.per_element.itemsize
        return buffers + self._reading_nbytes(width)

    def widest_panel(self, limit: int) -> int:
        """The widest panel up to `limit` that fits the budgets; 0 or less where not even an output tile does."""
        if self.resources.device == "cuda":
            limit = self._widest(limit, self.device_budget_nbytes, self.device_nbytes)
        host = self.resources.pool_nbytes - self.held_nbytes - self.in_flight_nbytes
        return self._widest(limit, host // self.slots, self.work_nbytes)

    def peaks(self, panels: Chunks, result: int) -> Peaks | None:
        """Most bytes with the given panels and a result of `result` elements; None when over a budget."""
        width = max(panels)
        device = self.device_nbytes(width) * self.resources.threads if self.resources.device == "cuda" else 0
        if device > self.resources.device_nbytes:
            return None
        work = self.slots * self.work_nbytes(width)
        whole = self.held_nbytes + tiles_nbytes(result * self.per_element.itemsize, len(self.rows) * len(self.columns))
        hold_result = whole + work <= self.resources.pool_nbytes
        tiles = whole if hold_result else self.held_nbytes + self.in_flight_nbytes
        if tiles + work > self.resources.pool_nbytes:
            return None
        processes = PROCESS_NBYTES * (self.resources.workers + 1)
        return Peaks(device, tiles, tiles + work + self._preparing_nbytes() + processes, hold_result)

    def _per_width(self) -> int:
        return self.sides * (2 * self.per_element.panel_itemsize + self.per_element.work_itemsize)

    def _widest(self, limit: int, budget: int, needed: Callable[[int], int]) -> int:
        """The largest width up to `limit` whose need, which grows with it but for one step down, is within `budget`."""
        step = max(*self.a.columns, *self.b.rows)
        for least, most in ((step, limit), (1, min(limit, step - 1))):
            if least <= most and needed(least) <= budget:
                per_width = (needed(most) - needed(least)) // max(1, most - least)
                return min(most, least + (budget - needed(least)) // per_width) if per_width else most
        return 0

    def _reading_nbytes(self, width: int) -> int:
        """Chunks that one task has in hand while it fills a panel of streamed operands."""
        elements = 0
        for operand, hold, chunk_sizes, tiles, k_chunks in (
            (self.a, self.hold_a, self.a.rows, self.rows, self.a.columns),
            (self.b, self.hold_b, self.b.columns, self.columns, self.b.rows),
        ):
            if not hold:
                elements += CHUNK_COPIES * operand.largest_chunk
                if self.a.columns != self.b.rows or max(k_chunks) > width:
                    # Chunks reach over a panel's edge: they are kept for the next panel, not read again.
                    elements += span(chunk_sizes, tiles) * max(k_chunks)
        return elements * self.per_element.itemsize

    def _preparing_nbytes(self) -> int:
        """Ordinary arrays that exist while the chunks of held operands are made, on every slot at once."""
        held = [operand.largest_chunk for operand, hold in ((self.a, self.hold_a), (self.b, self.hold_b)) if hold]
        return self.slots * CHUNK_COPIES * max(held, default=0) * self.per_element.itemsize


def tiles_nbytes(nbytes: int, count: int) -> int:
    """Memory of `nbytes` in `count` tiles: each takes whole pages and one more; below 16 pages arrays are no tiles."""
    return nbytes + min(2 * PAGESIZE * count, nbytes // 8)


@cache
def span(chunk_sizes: Chunks, tile_sizes: Chunks) -> int:
    """Most elements along an axis of the chunks that one tile touches."""
    edges = bounds(chunk_sizes)
    return max(sum(chunk_sizes[p.chunk] for p in cover(edges, *tile)) for tile in intervals(tile_sizes))
