from typing import Any

import dask.array as da
import numpy as np
import pytest

from overspill.errors import ArrayError, DTypeError
from overspill.ops.arguments import as_array, common_dtype, tile_sizes


def test_a_dask_array_is_taken_as_it_is() -> None:
    x = da.ones((3, 3))
    assert as_array(x) is x


@pytest.mark.parametrize("x", [np.ones((3, 3)), [[1.0, 2], [3, 4]], 2.0, np.float32(1)])
def test_other_arrays_become_one(x: Any) -> None:
    made = as_array(x)
    np.testing.assert_array_equal(made.compute(), x)
    assert made.dtype == np.asarray(x).dtype


@pytest.mark.parametrize("x", [np.full(3, None), ["a", "b"], [None], np.zeros(3, [("a", "f4")])])
def test_objects_and_records_are_refused_before_dask_sees_them(x: Any) -> None:
    with pytest.raises(DTypeError, match="cannot multiply elements of type"):
        as_array(x)


def test_the_common_type_is_in_this_machines_byte_order() -> None:
    x = da.ones((3, 3), dtype=">f8")
    assert common_dtype(x, x) == np.dtype("float64")
    assert common_dtype(x, x).isnative


def test_tile_sizes_leave_out_empty_tiles_but_not_empty_axes() -> None:
    assert tile_sizes(((3, 0, 2), 4), (5, 8), np.dtype(float)) == ((3, 2), (4, 4))
    assert tile_sizes(4, (0, 8), np.dtype(float)) == ((0,), (4, 4))


def test_sizes_must_not_be_negative() -> None:
    with pytest.raises(ArrayError, match="negative"):
        tile_sizes(((-5, 15), 10), (10, 10), np.dtype(float))
