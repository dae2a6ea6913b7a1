import numpy as np

from overspill import memory
from overspill.memory import registry


def test_every_view_of_a_tile_is_found_with_its_offset() -> None:
    x = memory.empty((200, 100), float)
    segment, start = registry.find(x)
    assert start == 0
    for view, offset in (
        (x[3:], 3 * 800),
        (x[:, 7], 7 * 8),
        (x.T, 0),
        (x[::-1], 199 * 800),
        (x[:, ::-2], 99 * 8),
        (x[-1:, -1:], x.nbytes - 8),
        (x.view(np.complex128), 0),
        (x.reshape(-1), 0),
    ):
        assert registry.find(view) == (segment, offset)


def test_ordinary_and_empty_arrays_are_not_found() -> None:
    x = memory.empty((200, 100), float)
    assert registry.find(np.ones(10_000)) is None
    assert registry.find(x[:0]) is None
    assert registry.find(x.copy()) is None


def test_what_lies_behind_a_segment_is_not_found() -> None:
    tiles = [memory.empty((20_000,), float) for _ in range(5)]
    for tile in tiles:
        segment, _ = registry.find(tile)
        assert segment.address == tile.__array_interface__["data"][0]
    ordinary = [np.ones(20_000) for _ in range(5)]
    assert all(registry.find(x) is None for x in ordinary)
