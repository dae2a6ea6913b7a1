from overspill.stream.buffers import Buffers


def test_a_buffer_handed_back_is_taken_again() -> None:
    made: list[int] = []
    buffers = Buffers(lambda nbytes: made.append(nbytes) or bytearray(nbytes), lambda nbytes: None)
    first = buffers.take(10)
    second = buffers.take(10)
    assert first is not second
    buffers.give(10, first)
    assert buffers.take(10) is first
    assert made == [10, 10]


def test_sizes_no_longer_wanted_are_dropped_before_a_new_one_is_made() -> None:
    held = 0

    def allocate(nbytes: int) -> bytearray:
        nonlocal held
        held += nbytes
        return bytearray(nbytes)

    def drop(nbytes: int) -> None:
        nonlocal held
        held -= nbytes

    buffers = Buffers(allocate, drop)
    old = [buffers.take(10), buffers.take(20)]
    buffers.give(10, old[0])
    buffers.give(20, old[1])
    buffers.take(30)
    assert held == 30
