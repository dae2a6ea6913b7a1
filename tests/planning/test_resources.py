import pytest

from cases import resources
from overspill.planning.resources import active, using


def test_blocks_nest_and_end_with_an_error_too() -> None:
    assert active() is None
    one, two = resources(workers=1), resources(workers=2)
    with using(one):
        with pytest.raises(ZeroDivisionError), using(two):
            assert active() is two
            raise ZeroDivisionError
        assert active() is one
    assert active() is None


def test_blocks_may_end_in_any_order() -> None:
    one, two = using(resources(workers=1)), using(resources(workers=2))
    one.__enter__()
    innermost = two.__enter__()
    one.__exit__(None, None, None)
    assert active() is innermost
    two.__exit__(None, None, None)
    assert active() is None
