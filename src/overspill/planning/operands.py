"""What the planner needs to know of the matrices it multiplies. Integers only."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from overspill.planning.grid import bounds

Chunks = tuple[int, ...]
"""Sizes of consecutive parts of an axis."""


@dataclass(frozen=True)
class Operand:
    """What the planner needs to know of a matrix. It asks again and again: what it adds up is added up once.

    Attributes
    ----------
    rows, columns
        Chunk sizes along each axis.
    reread
        How a task can have a chunk again without its being held: from ``"disk"``, by ``"recompute"``, or not at all.
    made
        Whether the chunks are in memory already, so that making them costs nothing more.
    loose
        Whether chunks that are in memory already are no tiles: held, they are there twice, as they are and in tiles.
    on_device
        Whether chunks that are held lie on the GPUs.
    making_nbytes
        Bytes that exist while one chunk is made, the chunk included; 0 where nothing is known of how it is made.
    """

    rows: Chunks
    columns: Chunks
    reread: Literal["disk", "recompute"] | None = None
    made: bool = False
    loose: bool = False
    on_device: bool = False
    making_nbytes: int = 0

    @cached_property
    def row_bounds(self) -> Chunks:
        """Boundaries of the chunks along the rows."""
        return bounds(self.rows)

    @cached_property
    def column_bounds(self) -> Chunks:
        """Boundaries of the chunks along the columns."""
        return bounds(self.columns)

    @cached_property
    def tallest(self) -> int:
        """Rows of the tallest chunk."""
        return max(self.rows)

    @cached_property
    def widest(self) -> int:
        """Columns of the widest chunk."""
        return max(self.columns)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.row_bounds[-1] * self.column_bounds[-1]

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self.rows) * len(self.columns)

    @property
    def largest_chunk(self) -> int:
        """Number of elements of the largest chunk."""
        return self.tallest * self.widest


@dataclass(frozen=True)
class Pair:
    """The operands of a product.

    Attributes
    ----------
    a, b
        The left and the right one.
    same
        Whether they are one array, whose chunks are held once for both sides or for neither.
    """

    a: Operand
    b: Operand
    same: bool = False

    @cached_property
    def aligned(self) -> bool:
        """Whether both have the same chunks along K."""
        return self.a.columns == self.b.rows

    @property
    def k(self) -> int:
        """Length of the axis that both share."""
        return self.a.column_bounds[-1]

    def held(self, hold_a: bool, hold_b: bool) -> tuple[Operand, ...]:
        """The arrays that are held, each of them once."""
        sides = ((self.a, hold_a), (self.b, hold_b and not self.same))
        return tuple(operand for operand, hold in sides if hold)
