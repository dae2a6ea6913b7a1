"""What the planner needs to know of the matrices it multiplies. Integers only."""

from dataclasses import dataclass
from typing import Literal

Chunks = tuple[int, ...]
"""Sizes of consecutive parts of an axis."""


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
