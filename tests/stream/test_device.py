import pytest

from overspill.planning.arithmetic import arithmetic
from overspill.stream.cpu import CPU, CPUTileStream
from overspill.stream.device import TileShape, device


def test_a_process_has_one_device_a_side() -> None:
    assert device("numpy") is device("numpy")
    assert isinstance(device("numpy"), CPU)


def test_buffers_are_made_for_the_largest_tile() -> None:
    shape = TileShape(actual=(3, 4), largest=(10, 20), width=7)
    assert (shape.size, shape.panel_size(0), shape.panel_size(1)) == (200, 70, 140)


@pytest.mark.gpu
def test_the_gpu_is_a_device_too() -> None:
    from overspill.stream.cuda import CUDA

    assert isinstance(device("cupy"), CUDA)


def test_a_stream_is_opened_for_a_tile() -> None:
    shape = TileShape(actual=(3, 4), largest=(3, 4), width=7)
    stream = device("numpy").open(shape, "float64", arithmetic("float64", "cpu"), keep_on_device=False, in_turn=True)
    assert isinstance(stream, CPUTileStream)
    stream.close()
