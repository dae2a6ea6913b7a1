from typing import Any

import numpy as np
import pytest

from cases import TOLERANCE, matrix

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("order_a", "CF")
@pytest.mark.parametrize("order_b", "CF")
@pytest.mark.parametrize("order_c", "CF")
@pytest.mark.parametrize(("m", "k", "n"), [(70, 50, 60), (1, 50, 60), (70, 1, 60), (70, 50, 1), (1, 1, 1)])
def test_products_are_stored_or_added(
    dtype: str, order_a: Any, order_b: Any, order_c: Any, m: int, k: int, n: int
) -> None:
    import cupy

    from overspill.kernels.gemm_cuda import gemm

    a, b = matrix((m, k), dtype, 1), matrix((k, n), dtype, 2)
    sums = "float32" if dtype == "float16" else dtype
    expected = a.astype(sums) @ b.astype(sums)
    on_device = cupy.asarray(a, order=order_a), cupy.asarray(b, order=order_b)
    c = cupy.full((m, n), cupy.nan, sums, order=order_c)
    for times, accumulate in ((1, False), (2, True), (3, True), (1, False)):
        gemm(*on_device, c, accumulate=accumulate)
        atol = TOLERANCE[sums] * max(np.abs(expected).max(), 1)
        np.testing.assert_allclose(c.get(), times * expected, rtol=0, atol=times * atol)


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("order_c", "CF")
@pytest.mark.parametrize(("m", "n"), [(200, 70), (70, 200), (333, 150), (75, 74)])
def test_results_larger_than_a_block_are_made_block_by_block(
    dtype: str, order: Any, order_c: Any, m: int, n: int, monkeypatch: pytest.MonkeyPatch
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
    c, expected = cupy.full((m, n), cupy.nan, dtype, order=order_c), a @ b
    for times, accumulate in ((1, False), (2, True)):
        gemm_cuda.gemm(cupy.asarray(a, order=order), cupy.asarray(b, order=order), c, accumulate=accumulate)
        atol = times * TOLERANCE[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(c.get(), times * expected, rtol=0, atol=atol)
    assert max(max(shape) for shape in made) <= 80
    assert len(made) == 2 * round(m / 50) * round(n / 50)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order_a", "CF")
@pytest.mark.parametrize("order_b", "CF")
@pytest.mark.parametrize("order_c", "CF")
@pytest.mark.parametrize(("skipped_nbytes", "row_nbytes"), [(0, 16), (16, 16), (8, 16), (0, 8)])
@pytest.mark.parametrize(("m", "k", "n"), [(300, 200, 500), (129, 7, 260)])
def test_large_results_are_made_by_kernels_that_we_ask_for(
    dtype: str,
    order_a: Any,
    order_b: Any,
    order_c: Any,
    skipped_nbytes: int,
    row_nbytes: int,
    m: int,
    k: int,
    n: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import cupy

    from overspill.kernels import cublaslt
    from overspill.kernels.gemm_cuda import gemm

    def lying(x: Any, order: str) -> Any:
        """`x` on the GPU, in rows, or columns, of a multiple of `row_nbytes`, after so many other bytes."""
        pitch = -(-x.shape[order == "C"] // 64) * 64 + row_nbytes // x.itemsize
        shape = (len(x), pitch) if order == "C" else (x.shape[1], pitch)
        skipped = skipped_nbytes // x.itemsize
        flat = cupy.full(shape[0] * shape[1] + skipped, cupy.nan, x.dtype)[skipped:]
        there = flat.reshape(shape) if order == "C" else flat.reshape(shape).T
        there[: x.shape[0], : x.shape[1]] = cupy.asarray(x)
        return there[: x.shape[0], : x.shape[1]]

    monkeypatch.setattr(cublaslt, "LEAST_SIZE", 1)
    multiply, done = cublaslt.multiply, list[bool]()

    def noted(*arguments: Any, **options: Any) -> bool:
        done.append(multiply(*arguments, **options))
        return done[-1]

    monkeypatch.setattr(cublaslt, "multiply", noted)
    a, b = matrix((m, k), dtype, 1), matrix((k, n), dtype, 2)
    x, y, c, expected = lying(a, order_a), lying(b, order_b), lying(np.full((m, n), np.nan, dtype), order_c), a @ b
    for times, accumulate in ((1, False), (2, True)):
        gemm(x, y, c, accumulate=accumulate)
        atol = times * TOLERANCE[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(c.get(), times * expected, rtol=0, atol=atol)
    around = c.base
    assert np.isnan(around.get()).sum() == around.size - c.size, "what lies between rows was written to"
    if skipped_nbytes == 8 or row_nbytes == 8:
        assert not any(done), "of an address that is no multiple of 16"
    elif dtype == "float32" and (order_a, order_b) == ("C", "F"):
        assert not any(done), "though cuBLAS's own choice is faster"
    elif order_c == "F" and (order_a, order_b) == ("C", "C") and k > 16:  # as tiles are made
        assert all(done) == (cupy.cuda.Device().compute_capability == cublaslt.MEASURED_ON)


@pytest.mark.parametrize(
    ("name", "value"), [("KERNELS", {}), ("KERNELS", {"float64": (9999, 3)}), ("_library", lambda: None)]
)
def test_where_there_is_no_such_kernel_cublas_chooses(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    from overspill.kernels import cublaslt
    from overspill.kernels.gemm_cuda import gemm

    a, b = matrix((300, 200), "float64", 1), matrix((200, 500), "float64", 2)
    c = cupy.full((300, 500), cupy.nan, order="F")
    monkeypatch.setattr(cublaslt, "LEAST_SIZE", 1)
    monkeypatch.setattr(cublaslt, name, value)
    cublaslt._algorithm.cache_clear()
    gemm(cupy.asarray(a), cupy.asarray(b), c, accumulate=False)
    np.testing.assert_allclose(c.get(), a @ b, rtol=0, atol=TOLERANCE["float64"] * np.abs(a @ b).max())
    cublaslt._algorithm.cache_clear()
