"""Freivalds' check passes what is right and fails what is not, whatever the chunks and the element type."""

import itertools

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overspill.errors import ArrayError, DTypeError
from overspill.ops.freivalds import verify_matmul

FLOATING = ["float16", "float32", "float64", "complex64", "complex128"]
INTEGER = ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]

cases = settings(max_examples=40, deadline=None, derandomize=True)


def operand(rng, shape, dtype):
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def product(a, b):
    return (a.astype(np.float32) @ b.astype(np.float32)).astype(a.dtype) if a.dtype == np.float16 else a @ b


def chunked(draw, x):
    """`x` as a Dask array with ragged chunks."""
    chunks = []
    for size in x.shape:
        cuts = draw(st.sets(st.integers(1, max(1, size - 1)), max_size=3))
        edges = [0, *sorted(cut for cut in cuts if cut < size), size]
        chunks.append(tuple(stop - start for start, stop in itertools.pairwise(edges)))
    return da.from_array(x, chunks=tuple(chunks))


@st.composite
def products(draw, dtypes=(*FLOATING, *INTEGER)):
    m, n, k = (draw(st.integers(1, 40)) for _ in range(3))
    dtype = draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    a, b = operand(rng, (m, k), dtype), operand(rng, (k, n), dtype)
    return draw, a, b, product(a, b), rng


def verify(draw, a, b, c):
    with_chunks = [chunked(draw, x) for x in (a, b, c)]
    return verify_matmul(*with_chunks)


@cases
@given(products())
def test_right_product_passes(case):
    draw, a, b, c, _ = case
    check = verify(draw, a, b, c)
    assert check.passed, check
    assert check.error <= check.bound


@cases
@given(products())
def test_single_wrong_entry_fails(case):
    draw, a, b, c, rng = case
    i, j = rng.integers(c.shape[0]), rng.integers(c.shape[1])
    if c.dtype.kind in "iu":
        bit = c.dtype.type(1) << c.dtype.type(draw(st.integers(0, 8 * c.dtype.itemsize - 1)))
        c[i, j] ^= bit
    else:
        scale = float((np.abs(a).astype(float) @ np.abs(b).astype(float)).max())
        c[i, j] += c.dtype.type(scale + 1)
    assert not verify(draw, a, b, c).passed


@cases
@given(products())
def test_wrong_entries_that_cancel_in_a_sum_fail(case):
    draw, a, b, c, _ = case
    if c.shape[1] < 2:
        return
    if c.dtype.kind in "iu":
        top = c.dtype.type(1) << c.dtype.type(8 * c.dtype.itemsize - 1)
        c[0, :2] ^= top
    else:
        c[0, 0] += c.dtype.type(100)
        c[0, 1] -= c.dtype.type(100)
    assert not verify(draw, a, b, c).passed


@cases
@given(products(dtypes=FLOATING), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_nan_and_infinity_fail(case, value):
    draw, a, b, c, rng = case
    c[rng.integers(c.shape[0]), rng.integers(c.shape[1])] = value
    check = verify(draw, a, b, c)
    assert not check.passed
    assert "WRONG" in check.summary


@pytest.mark.parametrize("dtype", [*FLOATING, "int8", "int64"])
def test_swapped_blocks_fail(dtype):
    rng = np.random.default_rng(1)
    a, b = operand(rng, (128, 96), dtype), operand(rng, (96, 128), dtype)
    c = product(a, b)
    c[:64, :64], c[:64, 64:] = c[:64, 64:].copy(), c[:64, :64].copy()
    assert not verify_matmul(*(da.from_array(x, chunks=32) for x in (a, b, c))).passed


@pytest.mark.parametrize("dtype", [*FLOATING, "int16"])
def test_missing_panel_fails(dtype):
    rng = np.random.default_rng(2)
    a, b = operand(rng, (100, 200), dtype), operand(rng, (200, 100), dtype)
    assert not verify_matmul(a, b, product(a[:, :150], b[:150])).passed


def test_error_of_a_millionth_is_seen_in_float64():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 500, 500))
    c = a @ b
    c[123, 456] += 1e-6
    assert not verify_matmul(a, b, c).passed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_that_rounds_one_way_passes(dtype):
    a = np.full((300, 3000), 0.1, dtype)
    b = np.full((3000, 200), 0.1, dtype)
    assert verify_matmul(a, b, a @ b).passed


def test_tiny_and_huge_values_pass():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((2, 50, 50)).astype(np.float32)
    for scale in (1e-22, 1e18):
        x, y = a * np.float32(scale), b * np.float32(scale)
        assert verify_matmul(x, y, x @ y).passed


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int32"])
def test_chunks_on_either_side(xp, dtype):
    rng = np.random.default_rng(5)
    a, b = operand(rng, (60, 70), dtype), operand(rng, (70, 80), dtype)
    wrong = product(a, b)
    wrong[3, 4] += 100
    x, y, right, wrong = (da.from_array(xp.asarray(z), chunks=32, asarray=False) for z in (a, b, product(a, b), wrong))
    assert verify_matmul(x, y, right).passed
    assert not verify_matmul(x, y, wrong).passed


def test_vectors_on_either_side():
    a, v = np.arange(12.0).reshape(3, 4), np.arange(4.0)
    assert verify_matmul(a, v, a @ v).passed
    assert verify_matmul(v, a.T, v @ a.T).passed
    assert verify_matmul(v, v, np.asarray(v @ v)).passed
    assert not verify_matmul(a, v, a @ v + 1).passed


@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_empty_dimensions(m, n, k):
    a, b = np.ones((m, k)), np.ones((k, n))
    assert verify_matmul(a, b, a @ b).passed
    if m and n:
        assert not verify_matmul(a, b, a @ b + 1).passed


def test_mixed_types_are_promoted():
    a, b = np.arange(6, dtype=np.int32).reshape(2, 3), np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2)
    assert verify_matmul(a, b, a @ b).passed


def test_the_chance_of_a_miss_is_told():
    a = np.eye(4)
    assert "2^-7" in verify_matmul(a, a, a, vectors=7).summary


def test_what_does_not_fit_is_refused():
    a = np.ones((3, 4))
    with pytest.raises(ArrayError, match=r"\(3, 4\) and \(4, 3\) do not make a product of shape \(4, 4\)"):
        verify_matmul(a, a.T, np.ones((4, 4)))
    with pytest.raises(DTypeError, match="bool"):
        verify_matmul(a > 0, a.T > 0, np.ones((3, 3), bool))


def test_chunks_stay_where_they_are():
    """No task sees more than one chunk of an operand, and what leaves it is thin."""
    largest = 0

    def note(block):
        nonlocal largest
        largest = max(largest, block.size)
        return block

    x = da.ones((400, 400), chunks=50)
    noted = x.map_blocks(note, dtype=x.dtype, meta=np.empty((0, 0)))
    assert verify_matmul(noted, noted, da.full((400, 400), 400.0, chunks=80)).passed
    assert largest == 2500


def test_a_result_of_a_type_that_cannot_hold_the_product_is_refused():
    eye = np.eye(5)
    for a, c in ((1j * eye, eye), (eye, eye.astype(int))):
        with pytest.raises(DTypeError, match="cannot hold the product"):
            verify_matmul(a, eye, c)
