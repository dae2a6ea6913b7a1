"""Linear combinations over one of their vectors, on the host and on a GPU."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from overspill.kernels.update import update


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("scale", [0, 1.0, -2.5])
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("shape", [(7,), (5, 2), (0,)])
def test_it_is_the_sum_written_over_the_vector(
    xp: ModuleType, dtype: str, scale: float, count: int, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal(shape).astype(dtype)
    numbers = [0.5, -3.0, 1e-3 + (2j if np.dtype(dtype).kind == "c" else 0)][:count]
    vectors = [rng.standard_normal(shape).astype(dtype) for _ in numbers]
    expected = scale * y + sum(a * x for a, x in zip(numbers, vectors, strict=True))
    if scale == 0:
        y[...] = np.nan  # its values do not matter
    target = xp.asarray(y)
    found = update(target, *((a, xp.asarray(x)) for a, x in zip(numbers, vectors, strict=True)), scale=scale)
    assert found is target
    assert found.dtype == dtype
    np.testing.assert_allclose(_here(found), expected.astype(dtype), rtol=10 * np.finfo(dtype).eps, atol=1e-6)


def test_vectors_with_gaps(xp: ModuleType) -> None:
    table = xp.arange(12.0).reshape(4, 3)
    column = table[:, 1]
    assert update(column, (2.0, table[:, 0])) is column
    np.testing.assert_array_equal(_here(table)[:, 1], [1, 10, 19, 28])


def _here(x: Any) -> Any:
    return x if isinstance(x, np.ndarray) else x.get()
