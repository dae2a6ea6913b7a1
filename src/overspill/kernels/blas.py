"""Matrix products on the CPU through SciPy's BLAS, accumulating in place on any row-major view.

SciPy publishes its BLAS to Cython as ``scipy.linalg.cython_blas``; the function pointers are taken from there. Its
Python wrappers would not do: they hold the interpreter lock for the whole product, so that neither a second thread nor
a worker's event loop moves, and they copy operands that are not contiguous.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cython_blas

_PREFIX = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}

Gemm = Any  # a ctypes function pointer


def gemm(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], *, accumulate: bool) -> None:
    """Store ``a @ b`` in `c`, or add it with `accumulate`.

    Parameters
    ----------
    a, b
        Operands of shape (m, k) and (k, n), each with one axis of unit stride (`has_unit_stride`).
    c
        Result of shape (m, n) in C order, or rows of such an array; of the operands' dtype, one of float32, float64,
        complex64 and complex128.
    accumulate
        Whether to add to `c` instead of overwriting it.
    """
    (m, k), n = a.shape, b.shape[1]
    function = _pointer(c.dtype.name)
    # BLAS is column-major: what it sees of a row-major c is its transpose, the product of the transposes in turn.
    layout_b, layout_a = _layout(b), _layout(a)
    assert layout_b and layout_a
    (trans_b, ld_b), (trans_a, ld_a) = layout_b, layout_a
    one = np.ones(1, c.dtype)
    beta = one if accumulate else np.zeros(1, c.dtype)
    sizes = [ctypes.byref(ctypes.c_int(size)) for size in (n, m, k, ld_b, ld_a, max(n, c.strides[0] // c.itemsize))]
    function(
        *(ctypes.c_char_p(trans_b), ctypes.c_char_p(trans_a), *sizes[:3], one.ctypes.data, b.ctypes.data, sizes[3]),
        *(a.ctypes.data, sizes[4], beta.ctypes.data, c.ctypes.data, sizes[5]),
    )


def has_unit_stride(x: NDArray[Any]) -> bool:
    """Whether BLAS can read the matrix `x` where it lies."""
    return _layout(x) is not None


def _layout(x: NDArray[Any]) -> tuple[bytes, int] | None:
    """BLAS's transposition flag and leading dimension for the transpose of `x`; None where it cannot read `x`."""
    for flag, (outer, inner), (outer_size, size) in (
        (b"N", x.strides, x.shape),
        (b"T", x.strides[::-1], x.shape[::-1]),
    ):
        if inner == x.itemsize or size < 2:
            if outer_size < 2:
                return flag, max(size, 1)
            if outer % x.itemsize == 0 and outer >= size * x.itemsize:
                return flag, outer // x.itemsize
    return None


@cache
def _pointer(dtype: str) -> Gemm:
    capsules: dict[str, Any] = vars(cython_blas)["__pyx_capi__"]
    capsule = capsules[_PREFIX[dtype] + "gemm"]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    address_of = ctypes.pythonapi.PyCapsule_GetPointer
    address_of.restype, address_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(address_of(capsule, name_of(capsule)))
