"""Linear combinations over one of their vectors, on the host and on a GPU."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from overspill.kernels.update import Update, update, updates


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


@pytest.mark.parametrize("dtype", ["f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("size", [0, 7, 40_000])
def test_several_see_what_earlier_ones_did(xp: ModuleType, dtype: str, size: int) -> None:
    rng = np.random.default_rng(0)
    u, w, p, s, x, r = (xp.asarray(rng.standard_normal(size).astype(dtype)) for _ in range(6))
    new_p, new_s = u + 0.5 * p, 0.25 * w
    expected = new_p, new_s, x + 3 * new_p - u, -2 * new_s + r
    s[...] = np.nan  # its values do not matter
    found = updates(
        Update(p, [(1.0, u)], 0.5),
        Update(s, [(0.25, w)], 0.0),
        Update(x, [(3.0, p), (-1.0, u)]),
        Update(r, [(-2.0, s)]),
    )
    assert [id(y) for y in found] == [id(y) for y in (p, s, x, r)]
    for y, exact in zip(found, expected, strict=True):
        np.testing.assert_allclose(_here(y), _here(exact), rtol=20 * np.finfo(dtype).eps, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 2.0])
def test_more_terms_than_one_pass_takes(xp: ModuleType, scale: float) -> None:
    y, terms = xp.ones(50), [(float(i), xp.full(50, 10.0)) for i in range(30)]
    assert (_here(update(y, *terms, scale=scale)) == scale + 4350).all()


def test_what_must_not_be_written_is_refused() -> None:
    y = np.ones(3)
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        update(y, (1.0, np.ones(3)))
    assert (y == 1).all()


def test_vectors_with_gaps(xp: ModuleType) -> None:
    table = xp.arange(12.0).reshape(4, 3)
    column = table[:, 1]
    assert update(column, (2.0, table[:, 0])) is column
    np.testing.assert_array_equal(_here(table)[:, 1], [1, 10, 19, 28])


@pytest.mark.parametrize("terms", [[], [2.0], [2.0, 3.0]])
def test_numbers_in_another_order_of_bytes(terms: list[float]) -> None:
    y, x = np.ones(5, ">f8"), np.ones(5, ">f8")
    assert update(y, *((a, x) for a in terms), scale=0.5) is y
    assert (y == 0.5 + sum(terms)).all()


def test_numbers_that_do_not_lie_at_multiples_of_their_size() -> None:
    y = np.zeros(8 * 5 + 1, np.uint8)[1:].view("f8")
    assert (update(y, (2.0, np.ones(5)), scale=3.0) == 2).all()


def _here(x: Any) -> Any:
    return x if isinstance(x, np.ndarray) else x.get()
