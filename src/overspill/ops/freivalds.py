"""Freivalds' check of a matrix product: C·X against A·(B·X) for a few random vectors X, far cheaper than the product.

R. Freivalds, "Probabilistic machines can use less running time", IFIP 1977. It shares nothing with `matmul`: no plan,
no stream, no tile, and it adds up in float64 whatever the element type.
"""

import math
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute

from overspill import backend
from overspill.errors import ArrayError, DTypeError
from overspill.ops.check import Check
from overspill.ops.rounding import Problem, row_bounds

Thin = np.ndarray[Any, Any]

SLAB_ELEMENTS = 2**20
"""Elements of a chunk that are converted to the check's own type at a time, so that no second chunk is held."""


def verify_matmul(a: Any, b: Any, c: Any, *, seed: int = 0, vectors: int = 20) -> Check:
    """Check that `c` is the product of `a` and `b`, without multiplying them.

    Compares C·X with A·(B·X) for random X of `vectors` columns. Integers must agree exactly, modulo 2 to the number of
    bits, as NumPy wraps; the elements of X are 0 and 1. Floats and complexes must agree row by row within a rigorous
    bound on what rounding can do; the elements of X are -1 and 1.

    With u the unit roundoff of the type that the product adds up in (float32 for float16) and
    γ_j = j·u / (1 - j·u), every entry of a computed product, in any order of summation, is within γ_k (|A|·|B|) of the
    true one (N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, eq. 3.13; √2·γ_(2k+2)
    for complexes, section 3.6). float16 adds its unit roundoff for the rounding of the result. So row i of
    (C - A·B)·X is within γ_k (|A|·(|B|·1))_i; and as the signs of X are independent of the errors, it is also within
    λ·γ_k·‖A_i‖·‖B‖_F but for a chance of 2^-40 in all (Hoeffding's inequality). The smaller counts, plus the rounding
    of the check itself in float64.

    An error in one entry is found with a chance of 1 - 2^-`vectors` if it exceeds twice the row's bound, in integers
    always. In float64 that is nearly any error; in float32 and float16 with large k the rigorous bound is wide.

    Parameters
    ----------
    a, b
        The operands, shapes (m, k) and (k, n), or vectors on either side: Dask arrays of any chunks, or NumPy arrays.
    c
        What is said to be their product.
    seed
        Of the random vectors.
    vectors
        How many.

    Returns
    -------
    Check
        `error` is the largest deviation in units of its row's bound and `bound` is 1; for integers the number of
        entries of C·X that differ, and 0.

    Raises
    ------
    ArrayError
        If the shapes do not match, or k is so large that rounding in this type has no bound.
    DTypeError
        For element types other than integers, floats and complexes, or if `c` cannot hold such a product.

    Examples
    --------
    >>> import numpy as np
    >>> import overspill as osp
    >>> a = np.random.default_rng(0).standard_normal((200, 200))
    >>> osp.verify_matmul(a, a, a @ a).passed
    True
    >>> osp.verify_matmul(a, a, a @ a.T).passed
    False
    """
    a, b, c = _matrices(a, b, c)
    if c.dtype.kind not in "iufc":
        raise DTypeError(
            f"verify_matmul cannot check elements of type {c.dtype}: cast the operands to integers or floats"
        )
    operand_type = np.result_type(a.dtype, b.dtype)
    if not np.can_cast(operand_type, c.dtype, "same_kind"):
        raise DTypeError(f"{c.dtype} cannot hold the product of {a.dtype} and {b.dtype}: check one of {operand_type}")
    a, b = a.astype(operand_type), b.astype(operand_type)
    random = np.random.default_rng(seed)
    signs = random.integers(0, 2, (c.shape[1], vectors), dtype=np.int8)
    if 0 in c.shape:
        return Check(True, "Freivalds' check: the product is empty")
    if c.dtype.kind in "iu":
        return _exact(a, b, c, signs.astype(c.dtype))
    return _rounded(a, b, c, 2 * signs - 1)


def _matrices(a: Any, b: Any, c: Any) -> tuple[da.Array, da.Array, da.Array]:
    a, b, c = (x if isinstance(x, da.Array) else da.asarray(x) for x in (a, b, c))
    expected = a.shape[:-1] + b.shape[1:]
    if a.ndim not in (1, 2) or b.ndim not in (1, 2) or a.shape[-1] != b.shape[0] or c.shape != expected:
        raise ArrayError(f"shapes {a.shape} and {b.shape} do not make a product of shape {c.shape}")
    m = a.shape[0] if a.ndim == 2 else 1
    n = b.shape[1] if b.ndim == 2 else 1
    return (
        a if a.ndim == 2 else a[None, :],
        b if b.ndim == 2 else b[:, None],
        c if c.ndim == 2 else c.reshape((m, n)),
    )


def _exact(a: da.Array, b: da.Array, c: da.Array, x: Thin) -> Check:
    left = _times_thin(_products, c, x)
    right = _times_thin(_products, a.astype(c.dtype), _times_thin(_products, b.astype(c.dtype), x))
    wrong = int((left != right).sum().compute())
    bits = 8 * c.dtype.itemsize
    return Check(
        passed=wrong == 0,
        summary=f"Freivalds' check with {x.shape[1]} vectors: {_outcome(wrong == 0)}, "
        + (f"exact modulo 2^{bits}" if wrong == 0 else f"{wrong} of {left.size} entries of C·X differ")
        + f"; an error is missed with probability 2^-{x.shape[1]}",
        error=float(wrong),
        bound=0.0,
    )


def _rounded(a: da.Array, b: da.Array, c: da.Array, signs: Thin) -> Check:
    wide = np.dtype(np.complex128 if c.dtype.kind == "c" else np.float64)
    problem = Problem(c.dtype, m=c.shape[0], n=c.shape[1], k=a.shape[1], vectors=signs.shape[1])
    x = np.hstack([signs, np.ones((c.shape[1], 1), np.int8)]).astype(wide)
    # The columns of each sweep over M: M·(all columns but the last), |M|·(the last), and the squares of each row of M.
    c_sweep = _times_thin(_products_and_sizes, c, x)
    b_sweep = _times_thin(_products_and_sizes, b, x)
    a_sweep = _times_thin(_products_and_sizes, a, b_sweep[:, :-1])
    swept_c, swept_a, b_squares = compute(c_sweep, a_sweep, b_sweep[:, -1].sum())
    with np.errstate(all="ignore"):
        deviation = np.abs(swept_c[:, :-2] - swept_a[:, :-2]).max(axis=1)
        bounds = row_bounds(problem, swept_a[:, -2].real, swept_a[:, -1].real, float(b_squares.real))
        ratios = np.where(deviation == 0, 0.0, deviation / bounds)
    finite = bool(np.isfinite(deviation).all() and np.isfinite(bounds).all())
    error = float(ratios.max()) if finite else math.inf
    passed = finite and error <= 1
    found = f"C·X and A·(B·X) differ by {error:.2g} of the rounding bound" if finite else "there are infinities or NaNs"
    return Check(
        passed=passed,
        summary=f"Freivalds' check with {problem.vectors} vectors: {_outcome(passed)}, {found}; "
        f"an error beyond twice the bound is missed with probability 2^-{problem.vectors}",
        error=error,
        bound=1.0,
    )


def _outcome(passed: bool) -> str:
    return "right" if passed else "WRONG"


def _times_thin(multiply: Callable[[Any, Thin], Thin], x: da.Array, thin: Any) -> da.Array:
    """`x` times a thin matrix, chunk by chunk: what stays of each chunk is as thin."""
    if isinstance(thin, da.Array):
        thin = thin.rechunk((x.chunks[1], -1))
    else:
        thin = da.from_array(thin, chunks=(x.chunks[1], -1))
    columns = thin.shape[1] + (multiply is _products_and_sizes)
    partial: da.Array = da.blockwise(
        multiply,
        "ijs",
        x,
        "ij",
        thin,
        "js",
        adjust_chunks={"j": 1, "s": columns},
        dtype=thin.dtype,
        meta=np.empty((0, 0, 0), thin.dtype),
        align_arrays=False,
    )
    total: da.Array = partial.sum(axis=1, dtype=thin.dtype)
    return total


def _products(chunk: Any, thin: Thin) -> Thin:
    """`chunk` times `thin`, in the type of `thin`."""
    xp = backend.array_namespace(chunk)
    thin = xp.asarray(thin)
    slabs = [slab.astype(thin.dtype) @ thin for slab in _slabs(chunk)]
    return backend.to_numpy(xp.concatenate(slabs))[:, None, :]


def _products_and_sizes(chunk: Any, thin: Thin) -> Thin:
    """`chunk` times `thin`, but |`chunk`| times the last column, and the sum of squares of each row."""
    xp = backend.array_namespace(chunk)
    thin = xp.asarray(thin)
    slabs = []
    with np.errstate(all="ignore"):
        for slab in _slabs(chunk):
            wide = slab.astype(thin.dtype)
            products = wide @ thin[:, :-1]
            sizes = xp.abs(wide)
            slabs.append(xp.hstack([products, sizes @ thin[:, -1:], (sizes * sizes).sum(axis=1, keepdims=True)]))
        result = backend.to_numpy(xp.concatenate(slabs))
    # One kind of "not finite", so that adding up partial results does not warn of infinities that cancel.
    result[~np.isfinite(result)] = np.nan
    return result[:, None, :]


def _slabs(chunk: Any) -> list[Any]:
    height = max(1, SLAB_ELEMENTS // max(1, chunk.shape[1]))
    return [chunk[start : start + height] for start in range(0, max(1, chunk.shape[0]), height)]
