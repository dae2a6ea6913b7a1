import numpy as np
import pytest

from overspill.planning.arithmetic import FLOATING, INTEGER, SUPPORTED, arithmetic


@pytest.mark.parametrize("dtype", SUPPORTED)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_sizes_are_those_of_the_element_type(dtype: str, device: str) -> None:
    per_element = arithmetic(dtype, device)
    assert per_element.itemsize == np.dtype(dtype).itemsize
    assert per_element.tile_itemsize >= per_element.itemsize
    assert per_element.panel_itemsize >= per_element.itemsize
    assert per_element.flop == (8 if np.dtype(dtype).kind == "c" else 2)


def test_all_integers_share_a_rate_and_floats_have_their_own() -> None:
    assert {arithmetic(dtype, "cpu").rate for dtype in INTEGER} == {"integer"}
    assert {arithmetic(dtype, "cpu").rate for dtype in FLOATING} == set(FLOATING)
