from typing import Any

import numpy as np
import pytest

from cases import TOLERANCE, matrix

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("order_a", "CF")
@pytest.mark.parametrize("order_b", "CF")
@pytest.mark.parametrize(("m", "k", "n"), [(70, 50, 60), (1, 50, 60), (70, 1, 60), (70, 50, 1), (1, 1, 1)])
def test_products_are_stored_or_added(dtype: str, order_a: Any, order_b: Any, m: int, k: int, n: int) -> None:
    import cupy

    from overspill.kernels.gemm_cuda import gemm

    a, b = matrix((m, k), dtype, 1), matrix((k, n), dtype, 2)
    sums = "float32" if dtype == "float16" else dtype
    expected = a.astype(sums) @ b.astype(sums)
    on_device = cupy.asarray(a, order=order_a), cupy.asarray(b, order=order_b)
    c = cupy.full((m, n), cupy.nan, sums)
    for times, accumulate in ((1, False), (2, True), (3, True), (1, False)):
        gemm(*on_device, c, accumulate=accumulate)
        atol = TOLERANCE[sums] * max(np.abs(expected).max(), 1)
        np.testing.assert_allclose(c.get(), times * expected, rtol=0, atol=times * atol)
