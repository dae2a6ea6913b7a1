"""The conformance kit for operators: what whatever multiplies vectors has to satisfy."""

from typing import Any

import dask.array as da
import numpy as np

from overspill import backend


def check_operator(A: Any, xp: Any = np, *, hermitian: bool = False, blocks: bool = True) -> None:
    """Shape, dtype, linearity, and the adjoint if `A` has one; `hermitian` operators are their own."""
    rows, columns = A.shape
    tolerance = 300 * np.finfo(A.dtype).eps
    x, y = random(columns, A.dtype, xp, 1), random(columns, A.dtype, xp, 2)
    Ax = A @ x
    assert Ax.shape == (rows,)
    assert Ax.dtype == A.dtype
    size = norm(Ax) + norm(A @ y)
    assert norm(A @ (x + 3 * y) - (Ax + 3 * (A @ y))) <= 3 * tolerance * size
    assert norm(A @ (0 * x)) == 0
    if A.dtype.kind == "f":
        complex_x = x + 1j * y
        assert (A @ complex_x).dtype == np.result_type(A.dtype, complex_x.dtype)
        assert norm(A @ complex_x - (Ax + 1j * (A @ y))) <= tolerance * size
    if blocks:
        X = xp.stack([x, y], axis=1)
        AX = A @ X
        assert AX.shape == (rows, 2)
        assert norm(AX[:, 0] - Ax) + norm(AX[:, 1] - A @ y) <= tolerance * size
    if hermitian or hasattr(A, "H"):
        adjoint = A if hermitian else A.H
        assert adjoint.shape == (columns, rows)
        w = random(rows, A.dtype, xp, 3)
        left, right = inner(w, Ax), inner(adjoint @ w, x)
        assert abs(left - right) <= tolerance * (norm(w) * norm(Ax) + norm(x) * norm(adjoint @ w))


def random(size: int, dtype: Any, xp: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(size) + (1j * rng.standard_normal(size) if np.dtype(dtype).kind == "c" else 0)
    return xp.asarray(values.astype(dtype))


def norm(x: Any) -> float:
    return float(np.linalg.norm(here(x)))


def inner(x: Any, y: Any) -> complex:
    return complex(np.vdot(here(x), here(y)))


def here(x: Any) -> Any:
    return backend.to_numpy(x.compute() if isinstance(x, da.Array) else x)
