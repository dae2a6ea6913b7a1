"""What solvers may do with vectors is the same wherever these are."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest

from overspill.kernels.update import Update
from overspill.linalg.graphs import Graphs
from overspill.linalg.space import InMemory, Space


@pytest.mark.parametrize(
    ("space", "place"), [(InMemory(), np.array), (Graphs(), lambda x: da.from_array(np.array(x), chunks=2))]
)
def test_updates_see_what_earlier_ones_did(space: Space, place: Callable[[Any], Any]) -> None:
    x, y, z = place([1.0, 2.0, 3.0]), place([10.0, 20.0, 30.0]), place([0.0, 0.0, 1.0])
    # z, like a solver's residual that no preconditioner changes, is read before it is written.
    found = space.updates(Update(x, [(1.0, y), (1.0, z)]), Update(z, [(1.0, x)], -1.0), Update(x, [(1.0, z)], 2.0))
    new_x = np.array([11.0, 22.0, 34.0])
    new_z = np.array([11.0, 22.0, 33.0])
    for vector, expected in zip(found, (2 * new_x + new_z, new_z, 2 * new_x + new_z), strict=True):
        np.testing.assert_array_equal(np.asarray(vector), expected)
