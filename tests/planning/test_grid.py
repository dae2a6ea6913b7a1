import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cases import cuts
from overspill.planning.grid import BAND_STEP, bands, bounds, cover, cut, even, group, intervals


@given(cuts(), st.data())
def test_pieces_cover_an_interval_exactly_and_in_order(sizes: tuple[int, ...], data: st.DataObject) -> None:
    total = sum(sizes)
    start = data.draw(st.integers(0, total - 1))
    stop = data.draw(st.integers(start + 1, total))
    axis, edges = np.arange(total), bounds(sizes)
    covered = np.full(stop - start, -1)
    for piece in cover(edges, start, stop):
        chunk = axis[edges[piece.chunk] : edges[piece.chunk + 1]]
        target = covered[piece.offset : piece.offset + piece.size]
        assert target.size == piece.size > 0
        assert (target == -1).all()
        target[:] = chunk[piece.start : piece.stop]
    np.testing.assert_array_equal(covered, axis[start:stop])


def test_empty_chunks_and_empty_intervals_have_no_pieces() -> None:
    assert [piece.chunk for piece in cover(bounds((0, 3, 0, 2, 0)), 0, 5)] == [1, 3]
    assert cover(bounds((3, 2)), 3, 3) == ()


@given(cuts(), st.integers(1, 400))
def test_groups_keep_the_total_and_the_limit(sizes: tuple[int, ...], limit: int) -> None:
    parts = group(bounds(sizes), limit)
    assert sum(parts) == sum(sizes)
    assert 0 < min(parts) <= max(parts) <= limit
    if max(sizes) <= limit:
        assert set(bounds(parts)) <= set(bounds(sizes)), "whole chunks are joined, not cut"


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_even_parts_are_few_and_of_one_size_but_the_last(size: int, limit: int) -> None:
    limit = max(limit, size // 1000 + 1)
    parts = even(size, limit)
    least = -(-size // limit)
    assert sum(parts) == size
    assert max(parts) <= limit
    assert set(parts[:-1]) <= {parts[0]}
    assert 0 < parts[-1] <= parts[0]
    assert least // 2 < len(parts) <= least + least // 2


def test_intervals_touch() -> None:
    assert intervals((2, 5)) == ((0, 2), (2, 7))


@given(cuts(), st.data())
def test_a_cut_counts_the_chunks_that_its_tiles_touch(sizes: tuple[int, ...], data: st.DataObject) -> None:
    edges = bounds(sizes)
    tiles = data.draw(st.integers(1, sum(sizes)).map(lambda limit: even(sum(sizes), limit)))
    touched = [sum(sizes[piece.chunk] for piece in cover(edges, *tile)) for tile in intervals(tiles)]
    found = cut(edges, tiles)
    assert (found.read, found.span, found.largest) == (sum(touched), max(touched), max(tiles))


@given(st.integers(1, 10**5), st.integers(1, 10**5), st.integers(1, 10**6))
def test_bands_are_of_so_many_elements_or_one_step_and_the_last_is_no_larger_than_others(
    rows: int, columns: int, elements: int
) -> None:
    heights = bands(rows, columns, elements)
    assert sum(heights) == rows
    assert min(heights) > 0
    assert max(heights) * columns <= max(elements, columns * BAND_STEP)
    assert heights[-1] == min(heights)
    assert not any(height % BAND_STEP for height in heights[:-1])


def test_what_goes_down_at_last_is_little() -> None:
    assert bands(8192, 8192) == (4096, 2048, 1024, 1024)
    assert bands(16384, 16384) == (4096, 4096, 4096, 2048, 1024, 512, 512)
    assert bands(12500, 12500) == (4224, 4224, 2048, 1024, 512, 468)
    assert bands(1, 2**30) == (1,)
