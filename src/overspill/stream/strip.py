"""A strip: the row of A, or the column of B, that one output tile needs, cut into panels as the product asks for them.

Its chunks are arrays that are there already, or `Reread` recipes: what such a recipe makes is in memory only from the
panel that first needs it to the one that last does, and is made once a task.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dask.local import get_sync

from overspill.errors import ArrayError
from overspill.memory import ledger
from overspill.planning.grid import Piece, cover

Chunk = Any  # a NumPy or CuPy array


@dataclass(frozen=True, slots=True)
class Reread:
    """How a task makes a chunk itself, instead of being given it.

    Attributes
    ----------
    key
        The chunk's key.
    graph
        The tasks that make it, a Dask graph without other inputs.
    kind
        Which counter of the ledger its bytes go to.
    """

    key: Any
    graph: dict[Any, Any]
    kind: Literal["disk", "recompute"]

    def __call__(self) -> Chunk:
        """Make the chunk, in this thread."""
        chunk = get_sync(self.graph, self.key)
        if self.kind == "disk":
            ledger.record(read_nbytes=chunk.nbytes)
        else:
            ledger.record(recomputed_nbytes=chunk.nbytes)
        return chunk


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a panel: its elements, and where they begin along the tile's side and along the panel's width."""

    array: Chunk
    side: int
    width: int


class Strip:
    """The chunks of A that cover an output tile's rows, or of B that cover its columns, seen as a (side, K) matrix.

    Parameters
    ----------
    chunks
        Arrays or `Reread` recipes, ``chunks[i][k]`` for the i-th of `pieces` and the k-th chunk along K.
    pieces
        Which part of each chunk row (for B: column) lies in the tile.
    k_bounds
        Chunk boundaries along K.
    transposed
        Whether the chunks are B's, which lie the other way.
    """

    def __init__(
        self,
        chunks: Sequence[Sequence[Chunk | Reread]],
        pieces: Sequence[Piece],
        k_bounds: Sequence[int],
        *,
        transposed: bool,
    ) -> None:
        self._chunks = chunks
        self._pieces = pieces
        self._k_bounds = k_bounds
        self._transposed = transposed
        self._kept: dict[tuple[int, int], Chunk] = {}

    @property
    def in_memory(self) -> bool:
        """Whether all chunks are there already."""
        return not any(isinstance(chunk, Reread) for row in self._chunks for chunk in row)

    def panel(self, start: int, stop: int) -> Iterator[Part]:
        """The parts that make up ``[start, stop)`` of K, one chunk in hand at a time; panels are asked for in order."""
        for k_piece in cover(self._k_bounds, start, stop):
            reaches_on = start + k_piece.offset + k_piece.size < self._k_bounds[k_piece.chunk + 1]
            for index, piece in enumerate(self._pieces):
                chunk = self._chunk(index, k_piece.chunk, keep=reaches_on)
                if self._transposed:
                    chunk = chunk.T
                part = chunk[piece.start : piece.stop, k_piece.start : k_piece.stop]
                declared = self._k_bounds[k_piece.chunk + 1] - self._k_bounds[k_piece.chunk]
                if part.shape != (piece.size, k_piece.size) or chunk.shape[1] != declared:
                    found = chunk.T.shape if self._transposed else chunk.shape
                    raise ArrayError(
                        f"a chunk has shape {found}, but its array's chunks say {declared} along the inner axis and "
                        f"{piece.stop} or more along the other: correct the chunks"
                    )
                yield Part(part, piece.offset, k_piece.offset)

    def _chunk(self, index: int, k: int, *, keep: bool) -> Chunk:
        chunk = self._chunks[index][k]
        if not isinstance(chunk, Reread):
            return chunk
        made = self._kept.pop((index, k), None)
        if made is None:
            made = chunk()
        if keep:
            self._kept[index, k] = made
        return made
