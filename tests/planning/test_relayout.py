import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overspill.planning.relayout import Chunks, inverse, targets


@st.composite
def cuts_of(draw: st.DrawFn, length: int) -> tuple[int, ...]:
    """Chunk sizes that add up to `length`, some of them 0."""
    edges = sorted(draw(st.lists(st.integers(0, length), max_size=4)))
    return tuple(stop - start for start, stop in zip([0, *edges], [*edges, length], strict=True))


@st.composite
def relayouts(draw: st.DrawFn) -> tuple[Chunks, Chunks, tuple[int, ...]]:
    """Chunks of a source, chunks of a result, and the order of axes between them."""
    shape = draw(st.lists(st.integers(0, 12), max_size=3))
    axes = tuple(draw(st.permutations(range(len(shape)))))
    source = tuple(draw(cuts_of(length)) for length in shape)
    return source, tuple(draw(cuts_of(shape[axis])) for axis in axes), axes


@given(relayouts())
def test_parts_cover_every_chunk_exactly_once(relayout: tuple[Chunks, Chunks, tuple[int, ...]]) -> None:
    source, chunks, axes = relayout
    x = np.arange(math.prod(map(sum, source))).reshape([sum(sizes) for sizes in source])
    edges = [np.cumsum([0, *sizes]) for sizes in source]
    assembled = np.full([sum(sizes) for sizes in chunks], -1)
    corners = [np.cumsum([0, *sizes]) for sizes in chunks]
    copied = 0
    indices = set()
    for index, target in targets(source, chunks, axes):
        indices.add(index)
        assert target.shape == tuple(sizes[place] for sizes, place in zip(chunks, index, strict=True))
        here = tuple(slice(along[i], along[i + 1]) for along, i in zip(corners, index, strict=True))
        chunk = assembled[(*here, ...)]
        for part in target.parts():
            there = tuple(slice(along[i], along[i + 1]) for along, i in zip(edges, part.chunk, strict=True))
            piece = x[there][part.source].transpose(axes)
            assert piece.size and (chunk[part.target] == -1).all()
            chunk[(*part.target, ...)] = piece
            copied += piece.nbytes
    assert indices == set(np.ndindex(*map(len, chunks)))
    assert copied == x.nbytes
    np.testing.assert_array_equal(assembled, x.transpose(axes))


@given(relayouts())
def test_whole_chunks_are_those_that_stay(relayout: tuple[Chunks, Chunks, tuple[int, ...]]) -> None:
    source, chunks, axes = relayout
    for _, target in targets(source, chunks, axes):
        parts = list(target.parts())
        same = [
            part.source == part.target == tuple(slice(0, size) for size in target.shape)
            and tuple(sizes[i] for sizes, i in zip(source, part.chunk, strict=True)) == target.shape
            for part in parts
        ]
        assert target.is_whole(source) == (same == [True] and axes == tuple(range(len(axes))))


@given(st.permutations(range(5)))
def test_inverse(axes: list[int]) -> None:
    back = inverse(axes)
    assert [axes[axis] for axis in back] == [back[axis] for axis in axes] == list(range(5))
