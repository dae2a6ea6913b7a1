"""cuBLASXt through its C interface: products of matrices in host memory on several GPUs, which it cuts into blocks.

See NVIDIA's cuBLAS documentation, "Using the cuBLASXt API".
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Handle = ctypes.c_void_p

NOT_TRANSPOSED = 0
"""``CUBLAS_OP_N``."""

_SIZES = (ctypes.c_size_t,) * 3

_NUMBERS = (ctypes.c_void_p, ctypes.c_size_t)
"""A matrix, and its leading dimension."""

_SCALE = ctypes.POINTER(ctypes.c_double)

SIGNATURES: dict[str, Sequence[Any]] = {
    "cublasXtCreate": (ctypes.POINTER(Handle),),
    "cublasXtDeviceSelect": (Handle, ctypes.c_int, ctypes.POINTER(ctypes.c_int)),
    "cublasXtSetBlockDim": (Handle, ctypes.c_int),
    "cublasXtDgemm": (Handle, ctypes.c_int, ctypes.c_int, *_SIZES, _SCALE, *_NUMBERS, *_NUMBERS, _SCALE, *_NUMBERS),
    "cublasXtDestroy": (Handle,),
}
"""Of the functions that are called, all of which return a status."""


class CublasError(RuntimeError):
    """A call of cuBLAS that did not succeed."""


@contextmanager
def opened(devices: Sequence[int], block: int) -> Iterator[Handle]:
    """cuBLASXt on these GPUs, with square blocks of `block` rows; what it allocates there is freed afterwards."""
    handle = Handle()
    call("cublasXtCreate", ctypes.byref(handle))
    try:
        call("cublasXtDeviceSelect", handle, len(devices), (ctypes.c_int * len(devices))(*devices))
        call("cublasXtSetBlockDim", handle, block)
        yield handle
    finally:
        call("cublasXtDestroy", handle)


def dgemm(handle: Handle, a: NDArray[Any], b: NDArray[Any], out: NDArray[Any]) -> None:
    """``out = a @ b`` of float64 matrices in C order; returns when it is there."""
    (m, k), n = a.shape, b.shape[1]
    for x, shape in ((a, (m, k)), (b, (k, n)), (out, (m, n))):
        assert x.shape == shape and x.dtype == "float64" and x.flags.c_contiguous
    one, zero = ctypes.c_double(1.0), ctypes.c_double(0.0)
    # Columns come first in cuBLAS: what it sees of matrices in C order are their transposes, and of the product too.
    left, right = (b.ctypes.data, n), (a.ctypes.data, k)
    sizes = (NOT_TRANSPOSED, NOT_TRANSPOSED, n, m, k)
    call("cublasXtDgemm", handle, *sizes, one, *left, *right, zero, out.ctypes.data, n)


def call(name: str, *arguments: Any) -> None:
    """Call a function of cuBLASXt; raises `CublasError` where it does not succeed."""
    function = getattr(library(), name)
    function.argtypes = SIGNATURES[name]
    if status := function(*arguments):
        describe = library().cublasGetStatusString
        describe.restype = ctypes.c_char_p
        raise CublasError(f"{name}: {describe(status).decode()}")


@cache
def library() -> Any:
    """The cuBLAS that CuPy uses, wherever that comes from."""
    import cupy

    cupy.cuda.device.get_cublas_handle()
    return ctypes.CDLL(mapped("libcublas.so"))


def mapped(name: str, maps: Path = Path("/proc/self/maps")) -> str:
    """Path of a shared library that is loaded, from its name without the version."""
    for line in maps.read_text().splitlines():
        path = line.partition("/")
        if path[1] and Path(path[2]).name.startswith(name):
            return path[1] + path[2]
    raise CublasError(f"{name} is not loaded")
