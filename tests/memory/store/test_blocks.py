from overspill.memory.store.blocks import Blocks


def filled(*sizes: int) -> Blocks:
    blocks = Blocks()
    for number, size in enumerate(sizes):
        blocks.release(size, f"block {number}", f"event {number}")
    return blocks


def test_the_first_released_is_the_first_taken() -> None:
    blocks = filled(8, 8, 8)
    taken = [blocks.take(8, leave=0) for _ in range(4)]
    assert taken == [("block 0", "event 0"), ("block 1", "event 1"), ("block 2", "event 2"), None]


def test_some_are_left() -> None:
    blocks = filled(8, 8, 16)
    assert blocks.take(8, leave=2) is None
    blocks.release(8, "block 3", "event 3")
    assert blocks.take(8, leave=2) == ("block 0", "event 0")
    assert blocks.take(8, leave=2) is None
    assert blocks.take(8, leave=1) == ("block 1", "event 1")


def test_no_more_are_dropped_than_asked_for() -> None:
    blocks = filled(8, 8, 8)
    assert blocks.drop(9)
    assert blocks.take(8, leave=0) == ("block 2", "event 2")
    assert not blocks.drop(1)


def test_one_is_dropped_if_it_is_large_enough() -> None:
    blocks = filled(4, 32, 16)
    assert blocks.drop_one(10)
    assert blocks.take(16, leave=0) is None
    assert blocks.drop_one(32)
    assert not blocks.drop_one(5)
    assert blocks.take(4, leave=0) == ("block 0", "event 0")


def test_one_that_is_large_enough_is_dropped_first() -> None:
    blocks = filled(4, 4, 32, 16)
    assert blocks.drop(10)
    assert blocks.take(16, leave=0) is None
    assert blocks.take(32, leave=0) == ("block 2", "event 2")
    assert blocks.drop()
    assert blocks.take(4, leave=0) is None
