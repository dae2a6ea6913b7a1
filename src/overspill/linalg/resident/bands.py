"""A rank's rows, cut by what they read: entries that the rank owns alone, or also those of lower and higher ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overspill import backend
from overspill.kernels import csr_residence
from overspill.linalg.resident.halo import Halo, places


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of one block.

    Attributes
    ----------
    rows
        Which, counted from the rank's first.
    matrix
        Their entries.
    operand
        What part of the band's operand the columns of `matrix` are.
    """

    rows: slice
    matrix: Any
    operand: slice


@dataclass(frozen=True, slots=True)
class Band:
    """Rows that read the same operand: what lower ranks own, then own entries, then what higher ranks own.

    Attributes
    ----------
    pieces
        The rows.
    left, right
        How many entries of lower and of higher ranks the operand has: all that the rank needs, or none.
    own
        Which of the rank's entries it has.
    """

    pieces: tuple[Piece, ...]
    left: int
    right: int
    own: slice

    @property
    def size(self) -> int:
        """Entries of the operand."""
        return int(self.left + self.own.stop - self.own.start + self.right)


def occupied(blocks: Sequence[Any], firsts: Sequence[int]) -> tuple[Any, int]:
    """In which columns, from the first one that any block has, there are entries; and that first one."""
    xp: Any = backend.array_namespace(blocks[0].data)
    first = min(firsts)
    found = xp.zeros(max(b.shape[1] + f for b, f in zip(blocks, firsts, strict=True)) - first, bool)
    for block, start in zip(blocks, firsts, strict=True):
        found[start - first :][block.indices] = True
    return found, first


def bands(blocks: Sequence[Any], firsts: Sequence[int], halo: Halo, cuts: Sequence[int], rank: int) -> tuple[Band, ...]:
    """The rows of `blocks`, the columns of which count from `firsts`, in few bands that keep most rows to themselves.

    Three where rows that need lower ranks stand before all that need higher ones, with rows that need neither between
    them: then the latter's product need not wait for anybody, and reads the vector where it lies. Else one.
    """
    begin, end = cuts[rank], cuts[rank + 1]
    size = end - begin
    first, last = _ends(blocks, firsts, begin)
    xp: Any = backend.array_namespace(first)
    below, above = xp.flatnonzero(first < begin), xp.flatnonzero(last >= end)
    head = int(below[-1]) + 1 if below.size else 0
    tail = int(above[0]) if above.size else size
    positions = None if halo.shifted else places(halo, cuts, rank, xp)

    def band(start: int, stop: int, left: int, right: int, own: slice) -> Band:
        zero = left - own.start  # the place in the operand of the rank's first entry
        limit = left + own.stop - own.start + right
        pieces = []
        row = 0
        for block, column in zip(blocks, firsts, strict=True):
            inside = slice(max(start - row, 0), min(stop - row, block.shape[0]))
            if inside.start < inside.stop:
                rows = slice(row + inside.start, row + inside.stop)
                if positions is None:
                    matrix, operand = _shifted(_cut(block, inside), column - begin + zero, limit)
                else:
                    matrix = _placed(_cut(block, inside), positions[column - halo.columns[0] :], zero, limit)
                    operand = slice(0, limit)
                pieces.append(Piece(rows, matrix, operand))
            row += block.shape[0]
        return Band(tuple(pieces), left, right, own)

    if head >= tail:
        return (band(0, size, halo.left, halo.right, slice(0, size)),)
    found = []
    if head:
        found.append(band(0, head, halo.left, 0, slice(0, max(int(last[:head].max()) + 1 - begin, 0))))
    inner = slice(int(first[head:tail].min()) - begin, int(last[head:tail].max()) + 1 - begin)
    found.append(band(head, tail, 0, 0, inner))
    if tail < size:
        found.append(band(tail, size, 0, halo.right, slice(min(int(first[tail:].min()) - begin, size), size)))
    return tuple(found)


def _ends(blocks: Sequence[Any], firsts: Sequence[int], begin: int) -> tuple[Any, Any]:
    """The first and the last column of the matrix that each row has an entry in; `begin` for rows without any."""
    xp: Any = backend.array_namespace(blocks[0].data)
    ends = []
    for block, start in zip(blocks, firsts, strict=True):
        full = xp.flatnonzero(block.indptr[1:] > block.indptr[:-1])
        both = xp.full((2, block.shape[0]), begin, np.int64)
        both[0, full] = block.indices[block.indptr[:-1][full]]
        both[1, full] = block.indices[block.indptr[1:][full] - 1]
        both[:, full] += start
        ends.append(both)
    first, last = xp.concatenate(ends, axis=1)
    return first, last


def _cut(block: Any, rows: slice) -> Any:
    """The block's `rows`: itself if these are all, else a copy, since kernels read entries in lines."""
    if rows == slice(0, block.shape[0]):
        return block
    indptr = block.indptr[rows.start : rows.stop + 1]
    inside = slice(int(indptr[0]), int(indptr[-1]))
    return csr_residence.make(
        block.data[inside].copy(), block.indices[inside].copy(), indptr - indptr[0], block.shape[1]
    )


def _shifted(block: Any, offset: int, limit: int) -> tuple[Any, slice]:
    """The block, and what part of an operand of `limit` entries its columns are that lie `offset` behind its first."""
    if offset >= 0 and offset + block.shape[1] <= limit:
        return block, slice(offset, offset + block.shape[1])
    # Its window reaches past the operand, though no entry of it does.
    indices = block.indices.astype(_index(block, limit)) + offset
    return csr_residence.make(block.data, indices, block.indptr, limit), slice(0, limit)


def _placed(block: Any, positions: Any, zero: int, limit: int) -> Any:
    """The block with its columns where `positions`, counted from `zero` in an operand of `limit` entries, says."""
    indices = positions[block.indices]
    indices += zero
    return csr_residence.make(block.data, indices.astype(_index(block, limit)), block.indptr, limit)


def _index(block: Any, limit: int) -> Any:
    """The type of the block's indices, or a wider one where `limit` needs it."""
    return block.indices.dtype if limit <= np.iinfo(block.indices.dtype).max else np.dtype(np.int64)
