from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cases import matrix
from overspill.backend import to_numpy
from overspill.kernels.integer import add_product

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "k", "n"), [(5, 7, 3), (1, 1, 1), (4, 1000, 2)])
def test_products_are_exact_modulo_two_to_the_64(xp: ModuleType, dtype: str, m: int, k: int, n: int) -> None:
    a, b = matrix((m, k), dtype, 1), matrix((k, n), dtype, 2)
    total = xp.asarray(matrix((m, n), "int64", 3))
    expected = to_numpy(total).copy() + a.astype("int64") @ b.astype("int64")
    add_product(xp.asarray(a), xp.asarray(b), total)
    np.testing.assert_array_equal(to_numpy(total), expected)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int8"])
def test_the_largest_and_smallest_numbers_are_exact(xp: ModuleType, dtype: str) -> None:
    info = np.iinfo(dtype)
    for value in (info.min, info.max, info.max - 1):
        a = np.full((2, 300), value, dtype)
        total = xp.zeros((2, 2), "int64")
        add_product(xp.asarray(a), xp.asarray(a.T), total)
        np.testing.assert_array_equal(to_numpy(total), a.astype("int64") @ a.T.astype("int64"))


def test_transposed_operands_are_read_where_they_lie(xp: ModuleType) -> None:
    a, b = matrix((7, 5), "int32", 1), matrix((3, 7), "int32", 2)
    total = xp.zeros((5, 3), "int64")
    add_product(xp.asarray(a).T, xp.asarray(b).T, total)
    np.testing.assert_array_equal(to_numpy(total), a.T.astype("int64") @ b.T.astype("int64"))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_integers_multiply_as_numpy_does(data: st.DataObject) -> None:
    m, k, n = (data.draw(st.integers(1, 6)) for _ in range(3))
    dtype = data.draw(st.sampled_from(["int64", "uint64", "int32"]))
    a, b = data.draw(hnp.arrays(dtype, (m, k))), data.draw(hnp.arrays(dtype, (k, n)))
    total = np.zeros((m, n), "int64")
    add_product(a, b, total)
    np.testing.assert_array_equal(total.astype(dtype), a @ b)
