"""What one product needs in bytes: on a device, in the pools, and in the host's memory. Integers only."""

from collections.abc import Callable
from dataclasses import dataclass
from mmap import PAGESIZE

from overspill.planning.arithmetic import Arithmetic
from overspill.planning.grid import Cut
from overspill.planning.operands import Operand, Pair
from overspill.planning.resources import Resources

PROCESS_NBYTES = 224 * 2**20
"""A Python process with NumPy, SciPy and Dask, before any array: measured, rounded up."""

CHUNK_COPIES = 2
"""Copies of a chunk that exist while it is made nobody knows how: the chunk, and what it is made from."""

WIDEST_SOURCE = 8
"""Bytes of an element that a chunk of a narrower type is taken to be made from: float16 comes from float64."""

TILES_IN_FLIGHT = 2
"""Output tiles of a slot at a time when the result is not held: one being made, one being used up."""

WORKSPACE_NBYTES = 48 * 2**20
"""What cuBLAS takes on a GPU for each thread that calls it: 32 MiB on a Hopper, records and code, rounded up."""

PAGE_TABLE_NBYTES = 12
"""What a GPU's tables take of its memory for each page of host memory that is locked for it: 8, and a margin. An H200
took 176 MiB beside the buffers of two threads that locked 58 GB (`matmul_gpu_1_one.json`); these figures say 259."""

LANDING_BUFFERS = 2
"""Through which a new tile comes down from a GPU: one is filled while the other is emptied."""

LANDING_NBYTES = 2**27
"""Of both of them, if their rows are no longer than that: what copying one takes is long beside beginning to."""

LANDING_SHARE = 8
"""At most this part of the tile."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Most bytes at a time, and whether the whole result is counted among them.

    Attributes
    ----------
    device_nbytes
        On one GPU; 0 on CPUs.
    driver_nbytes
        What cuBLAS and the driver take on one GPU besides; 0 on CPUs.
    tiles_nbytes
        Tiles in all pools together.
    host_nbytes
        Host memory of all processes, shared pages counted once.
    hold_result
        Whether the whole result fits the pools.
    """

    device_nbytes: int
    driver_nbytes: int
    tiles_nbytes: int
    host_nbytes: int
    hold_result: bool


@dataclass(frozen=True, slots=True)
class Space:
    """The room that one tiling of a product takes, as a function of its panel width."""

    per_element: Arithmetic
    resources: Resources
    pair: Pair
    hold_a: bool
    hold_b: bool
    rows: Cut
    columns: Cut

    @property
    def tile(self) -> int:
        """Elements of the largest output tile."""
        return self.rows.largest * self.columns.largest

    @property
    def sides(self) -> int:
        """Elements that one unit of panel width adds to a pair of panels."""
        return self.rows.largest + self.columns.largest

    @property
    def slots(self) -> int:
        """Tasks that run at a time."""
        return self.resources.workers * self.resources.threads

    @property
    def held_nbytes(self) -> int:
        """Tiles of the held operands."""
        return sum(tiles_nbytes(x.size * self.per_element.itemsize, x.count) for x in self._held)

    @property
    def in_flight_nbytes(self) -> int:
        """Tiles of a result that is used up as it comes."""
        return self.slots * TILES_IN_FLIGHT * tiles_nbytes(self.tile * self.per_element.itemsize, 1)

    @property
    def landing_nbytes(self) -> int:
        """Buffers through which tiles come down from GPUs, of all tasks that run at a time."""
        if self.resources.device == "cpu":
            return 0
        rows, row_nbytes = self.rows.largest, self.columns.largest * self.per_element.itemsize
        return self.slots * LANDING_BUFFERS * landing_rows(rows, row_nbytes) * row_nbytes

    def device_nbytes(self, width: int) -> int:
        """Device buffers on one GPU: its tasks' output tiles, two pairs of panels, and what the product itself needs.

        A piece of a tile is put in order, or cut to its type, before it goes down: counted of all types and tiles,
        though some lie as they are wanted, or stay.

        Tasks that find their operands in memory have them go up in turn, through the same buffers. Where one meets a
        task of another product, both take their own tiles, and panels too if that other one makes its operands.
        """
        threads = self.resources.threads
        pairs = 1 if self.hold_a and self.hold_b else threads
        leaving = piece_nbytes(self.rows.largest, self.columns.largest * self.per_element.itemsize)
        tiles = threads * (self.tile * self.per_element.tile_itemsize + leaving)
        return tiles + pairs * width * self._per_width()

    def work_nbytes(self, width: int) -> int:
        """Host memory of one task besides its output tile."""
        if self.resources.device == "cpu":
            accumulator = self.tile * (self.per_element.tile_itemsize - self.per_element.itemsize)
            buffers = accumulator + width * self._per_width()
        else:
            streamed = (not self.hold_a) * self.rows.largest + (not self.hold_b) * self.columns.largest
            buffers = 2 * width * streamed * self.per_element.itemsize
        return buffers + self._reading_nbytes(width)

    def widest_panel(self, limit: int) -> int:
        """The widest panel up to `limit` that fits the budgets; 0 or less where not even an output tile does."""
        if self.resources.device == "cuda":
            limit = self._widest(limit, self.resources.device_nbytes, self.device_nbytes)
        host = self.resources.pool_nbytes - self.held_nbytes - self.in_flight_nbytes - self.landing_nbytes
        return self._widest(limit, host // self.slots, self.work_nbytes)

    def peaks(self, width: int, result: int) -> Peaks | None:
        """Most bytes with panels up to `width` and a result of `result` elements; None when over a budget."""
        device = self.device_nbytes(width) if self.resources.device == "cuda" else 0
        if device > self.resources.device_nbytes:
            return None
        work = self.slots * self.work_nbytes(width)
        count = len(self.rows.sizes) * len(self.columns.sizes)
        around = self.held_nbytes + self.landing_nbytes
        whole = around + tiles_nbytes(result * self.per_element.itemsize, count)
        hold_result = whole + work <= self.resources.pool_nbytes
        tiles = whole if hold_result else around + self.in_flight_nbytes
        if tiles + work > self.resources.pool_nbytes:
            return None
        loose = sum(x.size * self.per_element.itemsize for x in self._held if x.loose)
        processes = PROCESS_NBYTES * (self.resources.workers + 1)
        host = tiles + work + self._preparing_nbytes() + loose + processes
        return Peaks(device, self._driver_nbytes(tiles), tiles, host, hold_result)

    def _driver_nbytes(self, tiles_nbytes: int) -> int:
        """What one GPU needs if it sees all tiles."""
        if self.resources.device == "cpu":
            return 0
        return self.resources.threads * WORKSPACE_NBYTES + PAGE_TABLE_NBYTES * (tiles_nbytes // PAGESIZE)

    @property
    def _held(self) -> tuple[Operand, ...]:
        return self.pair.held(self.hold_a, self.hold_b)

    def _per_width(self) -> int:
        return self.sides * (2 * self.per_element.panel_itemsize + self.per_element.work_itemsize)

    def _widest(self, limit: int, budget: int, needed: Callable[[int], int]) -> int:
        """The largest width up to `limit` whose need, which grows with it but for one step down, is within `budget`."""
        step = max(self.pair.a.widest, self.pair.b.tallest)
        for least, most in ((step, limit), (1, min(limit, step - 1))):
            if least <= most and needed(least) <= budget:
                per_width = (needed(most) - needed(least)) // max(1, most - least)
                return min(most, least + (budget - needed(least)) // per_width) if per_width else most
        return 0

    def _reading_nbytes(self, width: int) -> int:
        """Chunks that one task has in hand while it fills a panel of streamed operands."""
        nbytes = 0
        for operand, hold, tiles, widest in (
            (self.pair.a, self.hold_a, self.rows, self.pair.a.widest),
            (self.pair.b, self.hold_b, self.columns, self.pair.b.tallest),
        ):
            if not hold:
                nbytes += making_nbytes(operand, self.per_element.itemsize)
                if not self.pair.aligned or widest > width:
                    # Chunks reach over a panel's edge: they are kept for the next panel, not read again.
                    nbytes += tiles.span * widest * self.per_element.itemsize
        return nbytes

    def _preparing_nbytes(self) -> int:
        """Ordinary arrays that exist while the chunks of held operands are made, on every slot at once."""
        return self.slots * max((making_nbytes(x, self.per_element.itemsize) for x in self._held), default=0)


def tiles_nbytes(nbytes: int, count: int) -> int:
    """Memory of `nbytes` in `count` tiles: each takes whole pages and one more; below 16 pages arrays are no tiles."""
    return nbytes + min(2 * PAGESIZE * count, nbytes // 8)


def piece_nbytes(rows: int, row_nbytes: int) -> int:
    """Most bytes of a tile of so many rows, or a smaller one, that come down from a GPU at a time; a row at least."""
    at_most = min(LANDING_NBYTES, rows * row_nbytes // LANDING_SHARE)
    return max(row_nbytes, at_most // LANDING_BUFFERS)


def landing_rows(rows: int, row_nbytes: int) -> int:
    """Rows of each of the buffers through which a new tile of so many rows comes down from a GPU.

    Examples
    --------
    >>> landing_rows(2**14, 2**17), landing_rows(100, 2**10), landing_rows(4, 2**27)
    (512, 6, 1)
    """
    return piece_nbytes(rows, row_nbytes) // row_nbytes


def making_nbytes(operand: Operand, itemsize: int) -> int:
    """Memory of one chunk while it is made, from what the operand knows of it or from `CHUNK_COPIES`."""
    return operand.making_nbytes or CHUNK_COPIES * operand.largest_chunk * max(WIDEST_SOURCE, itemsize)
