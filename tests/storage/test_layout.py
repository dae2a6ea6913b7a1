"""Blocks on chunk boundaries, whatever the blocks: what independent writers rely on."""

from itertools import accumulate
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overspill.storage.layout import (
    LARGEST_CHUNK_NBYTES,
    MOST_CHUNKS_PER_BLOCK,
    SMALLEST_CHUNK_NBYTES,
    Blocks,
    block_ids,
    chunks_in,
    layout,
    region,
)

MIB = 2**20

ragged = st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=5).map(tuple), max_size=3).map(tuple)


@st.composite
def scaled(draw: st.DrawFn) -> tuple[Blocks, int]:
    """Ragged blocks and an itemsize, from a few bytes to many gigabytes in all."""
    blocks = draw(ragged)
    factor = draw(st.sampled_from([1, 1, 24, 1000, 1024]))
    return tuple(tuple(size * factor for size in sizes) for sizes in blocks), draw(st.sampled_from([1, 8, 16, 4 * MIB]))


@given(scaled())
def test_no_chunk_is_shared_by_two_blocks(case: tuple[Blocks, int]) -> None:
    planned = layout(*case)
    for sizes, side in zip(planned.blocks, planned.chunk_shape, strict=True):
        assert all(bound % side == 0 or bound == sum(sizes) for bound in accumulate(sizes))


@given(ragged)
def test_every_chunk_belongs_to_exactly_one_block(blocks: Blocks) -> None:
    planned = layout(blocks, 8)
    written = [
        index
        for block_id in block_ids(planned.blocks)
        for index in chunks_in(region(planned.blocks, block_id), planned.chunk_shape)
    ]
    shape = [sum(sizes) for sizes in blocks]
    assert len(written) == len(set(written))
    assert len(written) == prod(-(-length // side) for length, side in zip(shape, planned.chunk_shape, strict=True))


@given(scaled())
def test_blocks_cover_the_same_array_and_are_no_larger(case: tuple[Blocks, int]) -> None:
    blocks, itemsize = case
    planned = layout(blocks, itemsize)
    assert [sum(sizes) for sizes in planned.blocks] == [sum(sizes) for sizes in blocks]
    assert all(max(after) <= max(before) for after, before in zip(planned.blocks, blocks, strict=True))
    assert all(side >= 1 for side in planned.chunk_shape)


@given(scaled())
def test_there_are_never_many_tiny_chunks(case: tuple[Blocks, int]) -> None:
    planned = layout(*case)
    nonempty = prod(sum(size > 0 for size in sizes) for sizes in planned.blocks)
    count = prod(-(-sum(sizes) // side) for sizes, side in zip(planned.blocks, planned.chunk_shape, strict=True))
    tiny = prod(planned.chunk_shape) * case[1] < SMALLEST_CHUNK_NBYTES
    assert not tiny or count <= MOST_CHUNKS_PER_BLOCK * nonempty


def test_blocks_of_one_size_are_one_chunk_each() -> None:
    assert layout(((4, 4, 3), (5, 1)), 8).chunk_shape == (4, 5)


def test_irregular_blocks_take_the_greatest_common_divisor() -> None:
    planned = layout(((4, 6, 2), (9,)), 8)
    assert planned.blocks == ((4, 6, 2), (9,))
    assert planned.chunk_shape == (2, 9)


def test_irregular_blocks_without_a_sensible_grid_are_made_regular() -> None:
    planned = layout(((33, 34, 33),) * 2, 8)
    assert planned.blocks == ((34, 34, 32),) * 2
    assert planned.chunk_shape == (34, 34)


@pytest.mark.parametrize(
    ("blocks", "chunk_shape"),
    [
        (((16384, 16384), (16384,)), (2048, 4096)),
        (((4096, 4096), (10007, 10007)), (512, 10007)),
        (((10007,), (10007,)), (2502, 2502)),
        (((40009, 40009), (40009, 40009)), (40009, 40009)),  # a prime: no even fraction
    ],
)
def test_large_blocks_are_several_chunks(blocks: Blocks, chunk_shape: tuple[int, ...]) -> None:
    planned = layout(blocks, 8)
    assert planned.blocks == blocks
    assert planned.chunk_shape == chunk_shape
    assert prod(chunk_shape) * 8 <= LARGEST_CHUNK_NBYTES or 40009 in chunk_shape


@pytest.mark.parametrize(("blocks", "chunk_shape"), [((), ()), (((0,), (4,)), (1, 4)), (((0, 2, 0, 2, 0),), (2,))])
def test_empty_and_scalar_arrays(blocks: Blocks, chunk_shape: tuple[int, ...]) -> None:
    assert layout(blocks, 8).chunk_shape == chunk_shape


def test_an_empty_block_writes_no_chunk() -> None:
    assert list(chunks_in(region(((0, 2), (4,)), (0, 0)), (2, 4))) == []
