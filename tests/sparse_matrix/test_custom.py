"""Products by a user's own kernel."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from overspill.errors import ArrayError, UsageError
from overspill.sparse import CSRMatrix, matvec

from .matrices import random_matrix

WORKFLOW = Path(__file__).parents[2] / "workflows" / "custom_kernel.py"


def one_thread_a_row() -> str:
    spec = importlib.util.spec_from_file_location("custom_kernel", WORKFLOW)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel: str = module.KERNEL
    return kernel


def test_without_a_kernel_it_is_the_product() -> None:
    A, x = random_matrix(30, 40), np.arange(40.0)
    np.testing.assert_allclose(matvec(CSRMatrix.from_scipy(A, blocks=3), x).compute(), A @ x, rtol=1e-12, atol=1e-12)


def test_kernels_need_a_matrix_on_gpus_and_the_right_name() -> None:
    A = CSRMatrix.from_scipy(random_matrix(30, 40))
    with pytest.raises(ArrayError, match=r"lies on the host: call matvec\(A\.to_device\(\)"):
        matvec(A, np.ones(40), one_thread_a_row())
    for declared in ("__launch_bounds__(256) void matvec(", "void __launch_bounds__(256)\nmatvec("):
        with pytest.raises(ArrayError, match="lies on the host"):
            matvec(A, np.ones(40), one_thread_a_row().replace("void matvec(", declared))
    with pytest.raises(UsageError, match="defines no matvec"):
        matvec(A, np.ones(40), 'extern "C" __global__ void spmv() {}')
    with pytest.raises(UsageError, match="threads_per_row=0"):
        matvec(A, np.ones(40), one_thread_a_row(), threads_per_row=0)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("k", [(), (3,)])
def test_one_thread_a_row(dtype: Any, k: tuple[int, ...]) -> None:
    A = random_matrix(700, 500).astype(dtype)
    x = np.random.default_rng(0).standard_normal((500, *k)).astype(dtype)
    y = matvec(CSRMatrix.from_scipy(A, blocks=2).to_device(), x, one_thread_a_row()).compute(scheduler="synchronous")
    tolerance = 500 * np.finfo(dtype).eps
    np.testing.assert_allclose(y.get(), A @ x, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
def test_a_kernel_that_does_not_compile_is_told_of() -> None:
    A = CSRMatrix.from_scipy(random_matrix(30, 40)).to_device()
    broken = one_thread_a_row().replace("sum = 0", "sum == 0")
    with pytest.raises(UsageError, match="kernel= does not compile"):
        matvec(A, np.ones(40), broken).compute(scheduler="synchronous")
