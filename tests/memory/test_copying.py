import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overspill.memory import copying

LONG = copying.MOST_LINES + 1
"""Rows that are too long to be kept at hand."""


def turned(shape: Sequence[int], axes: Sequence[int], dtype: str = "f8") -> Any:
    """Distinct numbers of `shape` whose memory order is that of `axes`, outermost first."""
    x = np.arange(math.prod(shape)).astype(dtype).reshape([shape[axis] for axis in axes])
    return x.transpose(np.argsort(axes))


shapes_and_orders = st.lists(st.integers(0, 11), max_size=4).flatmap(
    lambda shape: st.tuples(st.just(shape), st.permutations(range(len(shape))))
)


@given(shapes_and_orders, st.integers(1, 300), st.integers(0, 3), st.data())
@settings(deadline=None)
def test_copies_are_exact(
    shape_and_order: tuple[list[int], list[int]], count: int, most_lines: int, data: st.DataObject
) -> None:
    shape, order = shape_and_order
    whole = turned(shape, order)
    steps = data.draw(st.tuples(*(st.sampled_from([1, 2, -1]) for _ in shape)))
    source = whole[(*(slice(None, None, step) for step in steps), ...)]
    around = np.full([size + 2 for size in source.shape], -1.0)
    target = around[(*(slice(1, -1),) * source.ndim, ...)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "MOST_LINES", most_lines)
        patch.setattr(copying, "BLOCK_NBYTES", 8 * count)
        copying.copy(target, source)
    np.testing.assert_array_equal(target, source)
    assert (around == -1).sum() == around.size - target.size


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((600, LONG), (1, 0)),
        ((3, 500, LONG), (0, 2, 1)),
        ((70, 80, LONG), (2, 1, 0)),
        ((500, 3, 520), (2, 1, 0)),
        ((512, 512), (1, 0)),
    ],
)
@pytest.mark.parametrize("dtype", ["i1", "f4", "c16"])
def test_copies_of_the_sizes_that_are_cut_into_blocks(
    shape: tuple[int, ...], order: tuple[int, ...], dtype: str
) -> None:
    source = turned(shape, order, dtype)
    target = np.empty_like(source, order="C")
    assert len(copying.crossing_axes([target, source])) == (2 if shape != (512, 512) or dtype == "c16" else 0)
    copying.copy(target, source)
    np.testing.assert_array_equal(target, source)


def test_elements_are_cast_within_their_kind() -> None:
    source = turned((LONG, LONG), (1, 0), "f4")
    target = np.empty(source.shape, "f8")
    copying.copy(target, source)
    np.testing.assert_array_equal(target, source)
    with pytest.raises(TypeError, match="same_kind"):
        copying.copy(np.empty(source.shape, "i4"), source)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=4), st.integers(1, 2**16), st.data())
def test_blocks_are_small_and_cover_every_element_once(shape: list[int], count: int, data: st.DataObject) -> None:
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), max_size=3))
    sizes = copying.block_shape(tuple(shape), sorted(axes), count)
    assert math.prod(sizes) <= count
    assert all(1 <= size <= extent for size, extent in zip(sizes, shape, strict=True))
    small = tuple(min(extent, 3 * size) for extent, size in zip(shape, sizes, strict=True))
    if math.prod(small) <= 2**16:
        times = np.zeros(small, int)
        for block in copying.cut(small, tuple(map(min, small, sizes))):
            times[block] += 1
        assert (times == 1).all()


def test_orders_that_agree_are_walked_as_they_are() -> None:
    x, y = np.zeros((LONG, LONG)), np.zeros((LONG, LONG))
    column = np.broadcast_to(x[:, :1], x.shape)
    assert copying.crossing_axes([x, y[::-1, ::-1]]) == ()
    assert copying.crossing_axes([x.T, y.T]) == ()
    assert copying.crossing_axes([x, column]) == ()
    assert copying.crossing_axes([x, y.T, column]) == (0, 1)
    assert copying.crossing_axes([x[:, :1000], y[:1000].T]) == ()
    assert copying.crossing_axes([x[:0], y.T[:0]]) == ()
