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


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize(("m", "n"), [(200, 70), (70, 200), (333, 150), (75, 74)])
def test_results_larger_than_a_block_are_made_block_by_block(
    dtype: str, order: Any, m: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cupy

    from overspill.kernels import gemm_cuda

    monkeypatch.setattr(gemm_cuda, "BLOCK_SIDE", {dtype: 50})
    monkeypatch.setattr(gemm_cuda, "ALIGNED", 8)
    multiply, made = gemm_cuda._multiply, list[tuple[int, int]]()

    def noted(a: Any, b: Any, c: Any, *, accumulate: bool) -> None:
        made.append(c.shape)
        multiply(a, b, c, accumulate=accumulate)

    monkeypatch.setattr(gemm_cuda, "_multiply", noted)
    a, b = matrix((m, 90), dtype, 1), matrix((90, n), dtype, 2)
    c, expected = cupy.full((m, n), cupy.nan, dtype), a @ b
    for times, accumulate in ((1, False), (2, True)):
        gemm_cuda.gemm(cupy.asarray(a, order=order), cupy.asarray(b, order=order), c, accumulate=accumulate)
        atol = times * TOLERANCE[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(c.get(), times * expected, rtol=0, atol=atol)
    assert max(max(shape) for shape in made) <= 80
    assert len(made) == 2 * round(m / 50) * round(n / 50)
