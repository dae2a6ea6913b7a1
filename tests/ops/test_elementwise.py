"""Functions of arrays, element by element: what NumPy gives, lazily, in one pass, or a warning, or an error."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import overspill as osp
from cases import matrix, random_array
from overspill.cluster import Cluster
from overspill.memory import ledger


@osp.elementwise
def wave(x: Any, phase: float = 0.0) -> Any:
    """The chain that benchmarks use."""
    return np.sin(x + phase) ** 2 + np.cos(x) * x


@osp.elementwise
def polar(x: Any, y: Any) -> tuple[Any, Any]:
    return np.hypot(x, y), np.arctan2(y, x)


@osp.elementwise
def through_math(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[float])(x)


def in_host(x: Any) -> Any:
    return x.get() if hasattr(x, "get") else x


def test_it_is_still_the_function() -> None:
    assert (wave.__name__, wave.__doc__) == ("wave", "The chain that benchmarks use.")
    assert wave(0.5) == np.sin(0.5) ** 2 + np.cos(0.5) * 0.5


def test_arrays_in_memory(xp: ModuleType) -> None:
    x = matrix((50, 60), "float64")
    y = wave(xp.asarray(x), phase=0.25)
    assert isinstance(y, xp.ndarray)
    np.testing.assert_allclose(in_host(y), wave.__wrapped__(x, 0.25), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int16", "bool"])
def test_dask_arrays(xp: ModuleType, dtype: str) -> None:
    values = matrix((50, 60), dtype)
    x = da.from_array(xp.asarray(values), chunks=(20, 25))
    y = wave(x)
    expected = wave.__wrapped__(values, 0.0)
    assert (y.shape, y.chunks, y.dtype, type(y._meta)) == (x.shape, x.chunks, expected.dtype, xp.ndarray)
    # The cosine of an int16 is a float32, that of a bool a float16.
    eps = np.finfo(np.cos(values).dtype).eps
    np.testing.assert_allclose(in_host(y.compute()), expected, rtol=16 * eps, atol=16 * eps)


def test_arrays_of_other_shapes_and_kinds_broadcast() -> None:
    x = random_array(((30, 20), (25, 25, 10)))
    row, column = da.linspace(0, 1, 60, chunks=60), np.arange(50.0)[:, None]
    mixed = osp.elementwise(lambda a, b, *, c: np.where(a > b, a, c))
    np.testing.assert_array_equal(
        mixed(x, row, c=column).compute(), np.where(x.compute() > row.compute(), x.compute(), column)
    )
    assert mixed(x[0], 0.5, c=x).shape == (50, 60)


def test_several_results_share_their_work() -> None:
    x, y = random_array(((30, 20), (40,))), random_array(((30, 20), (40,))) + 1
    radius, angle = polar(x, y)
    got = dask.compute(radius, angle, scheduler="synchronous")
    np.testing.assert_array_equal(got[0], np.hypot(x.compute(), y.compute()))
    np.testing.assert_array_equal(got[1], np.arctan2(y.compute(), x.compute()))
    (alone,) = osp.elementwise(lambda a: (a + 1,))(x)
    np.testing.assert_array_equal(alone.compute(), x.compute() + 1)


def test_one_task_a_chunk() -> None:
    x = da.ones((40, 40), chunks=20)
    (optimized,) = dask.optimize(wave(x) + 1)
    assert len(optimized.dask) == 4
    plan = osp.plan(wave(x))
    assert (plan.shape, plan.dtype, plan.residence) == ((40, 40), "float64", "host")
    assert plan.persisted.held_nbytes == 40 * 40 * 8


def test_nothing_is_computed() -> None:
    def explode(block: object) -> object:
        raise AssertionError("computed")

    wave(da.ones((10, 10)).map_blocks(explode, dtype=float, meta=np.empty((0, 0))))


def test_names_tell_functions_and_arguments_apart() -> None:
    x = da.ones(10, chunks=5)
    assert wave(x).name == wave(x).name
    assert len({wave(x).name, wave(x, 0.5).name, wave(x + 1).name, osp.elementwise(lambda x: x)(x).name}) == 4


def test_functions_of_functions_are_one_pass() -> None:
    x = da.from_array(np.random.default_rng(0).random(100), chunks=50)
    outer = osp.elementwise(lambda x: wave(x) * 2)
    np.testing.assert_array_equal(outer(x).compute(), wave(x).compute() * 2)


def shifted(x: Any) -> Any:
    y = x
    x += 0.5
    return y * 2


def test_arguments_that_are_changed_in_place_stay_as_they_are() -> None:
    x = np.arange(5.0)
    np.testing.assert_array_equal(osp.elementwise(shifted)(x), 2 * (np.arange(5.0) + 0.5))
    np.testing.assert_array_equal(x, np.arange(5.0))
    rounded = osp.elementwise(lambda x: shifted(np.multiply(x, 1)))(np.arange(5.0, dtype="float32"))
    assert rounded.dtype == np.float32


def test_functions_may_ask_whether_they_have_an_array() -> None:
    function = osp.elementwise(lambda x: x + 1 if isinstance(x, np.ndarray) else x - 1)
    np.testing.assert_array_equal(function(np.zeros(3)), np.ones(3))
    assert function(0.0) == -1


def test_parts_of_complex_numbers_are_not_changed_in_place_unseen() -> None:
    def moved(z: Any) -> Any:
        z = z * 1
        part = z.real
        part += 1
        return z

    with pytest.warns(osp.FusionWarning, match="add in place"):
        y = osp.elementwise(moved)(np.ones(3, "complex64"))
    np.testing.assert_array_equal(y, np.full(3, 2, "complex64"))


def test_errors_of_its_own_and_what_only_arrays_can() -> None:
    def guarded(x: Any) -> Any:
        try:
            return np.where(x.min() > 0, x, -x)
        except Exception:
            return x * 100

    with pytest.raises(osp.ArrayError, match="lambda is not elementwise"):
        osp.elementwise(lambda x: guarded(x - x[0]))(da.ones(10, chunks=5))
    cast = osp.elementwise(lambda x, to: x.astype(to, copy=False))
    assert cast(da.ones(3, chunks=3), np.dtype("f4")).dtype == np.float32
    rounded = osp.elementwise(lambda x: round(x))
    with pytest.raises(osp.ArrayError, match="fails on a sample"):
        rounded(da.ones(3, chunks=3))
    two = osp.elementwise(lambda a, b: a * b)
    x = np.arange(6.0)
    np.testing.assert_array_equal(osp.elementwise(lambda x: x + two(np.array(3.0), x))(x), 4 * x)


def test_warnings_point_to_the_call() -> None:
    with pytest.warns(osp.FusionWarning) as caught:
        through_math(np.ones(3))
    assert caught[0].filename == __file__


def test_on_workers(two_workers: Cluster) -> None:
    x = random_array(((300, 300), (400, 300)))
    np.testing.assert_array_equal(wave(x).compute(), wave.__wrapped__(x.compute(), 0.0))
    with pytest.warns(osp.FusionWarning):
        y = through_math(x)
    np.testing.assert_array_equal(y.compute(), through_math.__wrapped__(x.compute()))


def test_what_cannot_be_fused_is_called_and_named() -> None:
    x = da.from_array(np.linspace(-2, 2, 100), chunks=30)
    with pytest.warns(osp.FusionWarning, match="through_math is called as it is, .* making an array"):
        y = through_math(x)
    np.testing.assert_array_equal(y.compute(), [math.erf(value) for value in np.linspace(-2, 2, 100)])
    signs = osp.elementwise(lambda a, b: np.divmod(a, b))
    with pytest.warns(osp.FusionWarning, match="divmod"):
        quotient, rest = signs(x, 0.3)
    np.testing.assert_array_equal(quotient.compute(), x.compute() // 0.3)
    np.testing.assert_array_equal(rest.compute(), x.compute() % 0.3)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.sum(), r"of shape \(7,\) it makes \(\)"),
        (lambda x: x[1:], r"of shape \(7,\) it makes \(6,\)"),
        (lambda x: x - x.mean(), "neighbours"),
        (lambda x: np.cumsum(x), "neighbours"),
        (lambda x: np.roll(x, 1), "neighbours"),
        (lambda x: x * np.arange(x.size), "places"),
        (lambda x: x - x.min(), "neighbours"),
        (lambda x: x / np.sum([x]), "neighbours"),
        (lambda x: (x, np.sort(-x)), "neighbours"),
    ],
)
def test_what_is_not_elementwise_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(osp.ArrayError, match=message):
        osp.elementwise(function)(da.ones(10, chunks=5))


def test_what_changes_its_arguments_and_cannot_be_fused_is_refused() -> None:
    def negated(x: Any) -> Any:
        x[...] = -x
        return x

    with pytest.raises(osp.ArrayError, match="negated changes its arguments in place"):
        osp.elementwise(negated)(da.ones(10, chunks=5))


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(osp.DTypeError, match=r"wave .* type object: cast with x.astype\(\)"):
        wave(da.from_array(np.array([1, "a"], object), chunks=1))
    x = da.ones(10, chunks=5)
    unknown = x[x > 0]
    np.testing.assert_array_equal(wave(unknown).compute(), wave(x).compute())
    with pytest.raises(osp.ArrayError, match=r"polar cannot align .* call x.compute_chunk_sizes\(\)"):
        polar(unknown, x)
    assert polar(unknown, unknown * 2)[0].dtype == np.float64
    with pytest.raises(osp.ArrayError, match=r"polar cannot align arrays of shapes \(10,\) and \(7,\)"):
        polar(x, da.ones(7, chunks=5))
    with pytest.raises(osp.ArrayError, match="wave takes chunks .* not of MaskedArray"):
        wave(da.ma.masked_greater(x, 0.5))


@pytest.mark.gpu
def test_host_and_device_meet_on_the_device() -> None:
    import cupy

    x = matrix((300, 400), "float64")
    device = da.from_array(cupy.asarray(x), chunks=200)
    for host in (x, x.astype(">f8"), x.T.copy().T):
        radius, _ = polar(da.from_array(host, chunks=200), device)
        assert isinstance(radius._meta, cupy.ndarray)
        ledger.reset()
        np.testing.assert_allclose(radius.compute(scheduler="synchronous").get(), np.hypot(x, x), rtol=1e-15)
        assert ledger.snapshot()["uploaded_nbytes"] == x.nbytes
        np.testing.assert_allclose(osp.max(radius).compute().get(), np.hypot(x, x).max(), rtol=1e-15)
        np.testing.assert_allclose(polar(host, cupy.asarray(x))[0].get(), np.hypot(x, x), rtol=1e-15)
