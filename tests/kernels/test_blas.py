from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cases import TOLERANCE, matrix
from overspill.kernels.blas import gemm, has_unit_stride

DTYPES = ["float32", "float64", "complex64", "complex128"]

LAYOUTS = {
    "C": lambda x: np.ascontiguousarray(x),
    "F": lambda x: np.asfortranarray(x),
    "rows of a wider array": lambda x: np.pad(x, ((3, 2), (4, 5)))[3:-2, 4:-5],
    "columns of a taller F array": lambda x: np.asfortranarray(np.pad(x, ((3, 2), (4, 5))))[3:-2, 4:-5],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout_a", LAYOUTS)
@pytest.mark.parametrize("layout_b", LAYOUTS)
def test_products_are_stored_or_added_whatever_the_operands_layout(dtype: str, layout_a: str, layout_b: str) -> None:
    a, b = LAYOUTS[layout_a](matrix((13, 7), dtype, 1)), LAYOUTS[layout_b](matrix((7, 11), dtype, 2))
    assert has_unit_stride(a) and has_unit_stride(b)
    c = np.full((13, 11), 5, dtype)
    gemm(a, b, c, accumulate=False)
    close(c, a @ b, dtype)
    gemm(a, b, c, accumulate=True)
    close(c, 2 * (a @ b), dtype)


@pytest.mark.parametrize(("m", "k", "n"), [(1, 7, 5), (6, 1, 5), (6, 7, 1), (1, 1, 1), (1, 7, 1)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_are_matrices_too(m: int, k: int, n: int, layout: str) -> None:
    a, b = LAYOUTS[layout](matrix((m, k), "float64", 1)), LAYOUTS[layout](matrix((k, n), "float64", 2))
    c = np.empty((m, n))
    gemm(a, b, c, accumulate=False)
    close(c, a @ b, "float64")


def test_what_was_in_the_result_does_not_matter_unless_added_to() -> None:
    a, c = matrix((4, 4), "float64"), np.full((4, 4), np.nan)
    gemm(a, a, c, accumulate=False)
    close(c, a @ a, "float64")


def test_the_result_may_be_rows_of_a_wider_array() -> None:
    a, b, around = matrix((4, 6), "float64", 1), matrix((6, 3), "float64", 2), np.zeros((6, 9))
    gemm(a, b, around[1:5, 2:5], accumulate=False)
    close(around[1:5, 2:5], a @ b, "float64")
    around[1:5, 2:5] = 0
    assert not around.any()


@pytest.mark.parametrize(
    "x", [np.ones((6, 6))[:, ::2], np.ones((6, 6))[::-1], np.ones((6, 6))[:, ::-1], np.broadcast_to(np.ones(6), (6, 6))]
)
def test_what_blas_cannot_read_is_told(x: NDArray[Any]) -> None:
    assert not has_unit_stride(x)


def close(c: NDArray[Any], expected: NDArray[Any], dtype: str) -> None:
    np.testing.assert_allclose(c, expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())
