"""Inner products of several pairs of vectors: NumPy's, our kernel's on a GPU, and our kernel's run by the host."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernels import host_cupy
from overspill.kernels import dots as dispatching


@pytest.fixture(scope="module", params=["numpy", "host", pytest.param("cuda", marks=pytest.mark.gpu)])
def side(request: pytest.FixtureRequest) -> Any:
    """Who multiplies, and how vectors get there."""
    if request.param == "numpy":
        return dispatching.dots, lambda x: x
    if request.param == "host":
        folder = request.config.cache.mkdir("kernels_on_host")
        _, launcher = host_cupy.launchers(folder, on_trial, "compiled", "dots_cuda")
        return launcher.dots, host_cupy.device_array
    import cupy

    return dispatching.dots, cupy.asarray


def on_trial(expression: str) -> bool:
    """Whether the host compiles a kernel with the others of its source."""
    return expression.startswith("dots<")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("size", [0, 1, 255, 5000])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_they_are_the_sums_of_products(
    side: tuple[Callable[..., Any], Callable[[Any], Any]], dtype: str, size: int, count: int
) -> None:
    dots, array = side
    rng = np.random.default_rng(size + count)
    w, *others = (numbers(rng, size, dtype) for _ in range(count))
    ours = array(w)
    pairs = [(w, w), *((v, w) for v in others)]
    found = dots((ours, ours), *((array(v), ours) for v in others))
    found = found.get() if hasattr(found, "get") else found
    exact = np.array([np.vdot(x.astype(complex), y.astype(complex)) for x, y in pairs])
    bound = (size + 2) * np.finfo(dtype).eps * np.array([abs(x) @ abs(y).astype(float) for x, y in pairs])
    assert found.shape == (count,)
    assert (abs(found - exact) <= bound).all()


def test_columns_and_shared_vectors(side: tuple[Callable[..., Any], Callable[[Any], Any]]) -> None:
    dots, array = side
    table = array(np.arange(12.0).reshape(4, 3))
    x, y = table[:, 0], table[:, 2]
    assert dots((x, y), (x, x), (y, x), (x, y), (y, y)).tolist() == [162, 126, 162, 162, 214]


def test_no_pairs() -> None:
    assert dispatching.dots().shape == (0,)


def numbers(rng: np.random.Generator, size: int, dtype: str) -> Any:
    x = rng.standard_normal(size)
    return (x + 1j * rng.standard_normal(size) if dtype.startswith("c") else x).astype(dtype)
