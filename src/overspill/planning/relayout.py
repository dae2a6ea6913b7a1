"""An array cut anew, its axes in another order: which piece of which chunk goes where. Integers only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from overspill.planning.grid import Piece, bounds, cover, intervals

Chunks = tuple[tuple[int, ...], ...]
"""Sizes of the chunks along every axis."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one source chunk, and its place in a target chunk.

    Attributes
    ----------
    chunk
        Index of the source chunk, by the source's axes.
    source
        What to take of it, by the source's axes.
    target
        Where that belongs in the target chunk, by the target's axes.
    """

    chunk: tuple[int, ...]
    source: tuple[slice, ...]
    target: tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A chunk of the result, and the pieces that it is made of.

    Attributes
    ----------
    shape
        Of the chunk.
    pieces
        Along each of its axes, the pieces of the source's chunks that cover it.
    axes
        For each of its axes, which one of the source it is.
    """

    shape: tuple[int, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    axes: tuple[int, ...]

    def parts(self) -> Iterator[Part]:
        """Everything that is copied into the chunk: each of its elements once."""
        back = inverse(self.axes)
        for pieces in product(*self.pieces):
            turned = [pieces[axis] for axis in back]
            yield Part(
                chunk=tuple(piece.chunk for piece in turned),
                source=tuple(slice(piece.start, piece.stop) for piece in turned),
                target=tuple(slice(piece.offset, piece.offset + piece.size) for piece in pieces),
            )

    def is_whole(self, source: Chunks) -> bool:
        """Whether it is one chunk of `source` as that is."""
        return self.axes == tuple(range(len(self.axes))) and all(
            len(pieces) == 1 and pieces[0].size == sizes[pieces[0].chunk]
            for pieces, sizes in zip(self.pieces, source, strict=True)
        )


def targets(source: Chunks, chunks: Chunks, axes: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Target]]:
    """The chunks of the result by their index.

    Parameters
    ----------
    source
        How the source is cut.
    chunks
        How the result is cut.
    axes
        For each axis of the result, which one of the source it is.

    Examples
    --------
    >>> [(index, [part.chunk for part in target.parts()]) for index, target in targets(((2, 2),), ((3, 1),), (0,))]
    [((0,), [(0,), (1,)]), ((1,), [(1,)])]
    """
    covers = [
        [cover(bounds(source[axis]), *interval) for interval in intervals(sizes)]
        for sizes, axis in zip(chunks, axes, strict=True)
    ]
    for index in product(*(range(len(sizes)) for sizes in chunks)):
        shape = tuple(sizes[place] for sizes, place in zip(chunks, index, strict=True))
        pieces = tuple(along[place] for along, place in zip(covers, index, strict=True))
        yield index, Target(shape, pieces, axes)


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that undoes `axes`.

    Examples
    --------
    >>> inverse((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))
