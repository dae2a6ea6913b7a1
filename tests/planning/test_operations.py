import pytest

from overspill.planning.operations import NOTHING, Operations, weigh


@pytest.mark.parametrize("function", ["add", "divide", "sqrt", "exp", "sin", "power", "hypot", "where", "unheard of"])
@pytest.mark.parametrize("kind", ["f", "c"])
def test_wider_elements_never_weigh_less(function: str, kind: str) -> None:
    weights = [weigh(function, kind, itemsize) for itemsize in ((4, 8) if kind == "f" else (8, 16))]
    assert weights[0].numpy <= weights[1].numpy
    assert weights[0].cupy <= weights[1].cupy
    assert min(weights[0].numpy, weights[0].cupy) >= 1
    assert weigh(function, "c", 8).numpy > weigh(function, "f", 4).numpy


@pytest.mark.parametrize(
    ("operator", "ufunc"),
    [("truediv", "divide"), ("pow", "power"), ("mod", "remainder"), ("floordiv", "floor_divide"), ("add", "multiply")],
)
def test_operators_weigh_what_their_ufuncs_do(operator: str, ufunc: str) -> None:
    assert weigh(operator, "f", 8) == weigh(ufunc, "f", 8)


def test_sines_weigh_more_than_exponentials_and_these_more_than_sums() -> None:
    for itemsize in (4, 8):
        add, exp, sin = (weigh(function, "f", itemsize) for function in ("add", "exp", "sin"))
        assert add.numpy < exp.numpy <= sin.numpy
        assert add.cupy < exp.cupy < sin.cupy


def test_what_a_core_does_element_by_element_weighs_more_there() -> None:
    assert weigh("add", "f", 2).numpy > weigh("add", "f", 4).numpy
    assert weigh("exp", "c", 8).numpy > 10 * weigh("exp", "f", 4).numpy


def test_work_adds_up() -> None:
    assert (Operations(1, 2) + Operations(3, 4)) * 5 == Operations(20, 30)
    assert sum([Operations(1, 2)] * 3, NOTHING) == Operations(3, 6)
