"""Matrix products by a kernel of cuBLAS that we ask for, where it would take a slower one.

`gemmEx` offers no choice, so this talks to cuBLASLt, which CuPy has loaded with cuBLAS but does not wrap:
https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api. Its numbers are those of ``cublasLt.h``.
"""

import ctypes
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import cupy
import numpy as np
from cupy.cuda import cublas

KERNELS = {"float64": (20, 3), "float32": (23, 31)}
"""Of each element type the tile and the stages of the kernel that we ask for: CUBLASLT_MATMUL_TILE_128x128 with
_STAGES_16x3, and _TILE_128x256 with _STAGES_8x3.

cuBLAS proposes the former for some sizes and not for others, but with all of them an H200 is fastest at it: the larger
the tile of a group of threads, the less is read for it, and the power for that multiplies instead. A tile of float64
takes 0.94 of the time that it takes by what cuBLAS chooses, of float32 0.96 (`benchmarks/gemm_blocks_gpu.py`).
"""

SLOWER = (("float32", (1, 0)),)
"""Types and layouts of operands (`Problem.transposed`) for which cuBLAS chooses better: 4 % in a run without a file."""

MEASURED_ON = "90"
"""The compute capability, of Hopper, that is asked so: it was measured on an H200, and cuBLAS has other kernels for
others."""

LEAST_SIZE = 4096**2
"""Elements of a result that keep all of an H200 busy with such tiles."""

ALIGNED_NBYTES = 16
"""Of which addresses are a multiple: these kernels load so much at once."""

_TRANSPOSED = 3, 4
"""CUBLASLT_MATMUL_DESC_TRANSA and _TRANSB."""

_MIN_ALIGNMENT = 5, 6, 7, 8
"""CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, _B_, _C_ and _D_."""

_TILE, _STAGES = 1, 6
"""CUBLASLT_ALGO_CONFIG_TILE_ID and _STAGES_ID."""

_PROPOSALS = 16
"""Kernels that cuBLAS is asked for, of which one will do: it may turn ours down with what else another comes with."""


class _Algorithm(ctypes.Structure):
    _fields_ = (("data", ctypes.c_uint64 * 8),)


class _Proposal(ctypes.Structure):
    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace_nbytes", ctypes.c_size_t),
        ("status", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """A product as cuBLAS sees it, of matrices whose columns are each in one piece.

    Attributes
    ----------
    dtype
        Of all three matrices.
    types
        cuBLAS's names of the element type, and of what it is computed in.
    sizes
        Rows and columns of the result, and what is added up.
    transposed
        Whether each operand lies transposed: cuBLAS's flags.
    leading
        Elements from one column to the next, of the operands and the result.
    """

    dtype: str
    types: tuple[int, int]
    sizes: tuple[int, int, int]
    transposed: tuple[int, int]
    leading: tuple[int, int, int]


def multiply(problem: Problem, alpha: int, x: Any, y: Any, beta: int, out: Any) -> bool:
    """Queue ``out = alpha * x @ y + beta * out`` on the current stream.

    Parameters
    ----------
    problem
        What to multiply.
    alpha, beta
        Addresses of the factors, on the host; where that of `out` is 0, its elements may be anything.
    x, y, out
        The matrices, on the GPU.

    Returns
    -------
    bool
        False if there is no kernel to ask for, or it is refused: then nothing is queued, and cuBLAS is to choose.
    """
    kernel = KERNELS.get(problem.dtype)
    if kernel is None or (problem.dtype, problem.transposed) in SLOWER or math.prod(problem.sizes[:2]) < LEAST_SIZE:
        return False
    addresses = [array.data.ptr for array in (x, y, out)]
    if any(address % ALIGNED_NBYTES for address in addresses):
        return False
    algorithm = _algorithm(problem, kernel, cupy.cuda.Device().compute_capability)
    if algorithm is None:
        return False
    stream = cupy.cuda.get_current_stream().ptr
    factor, plus, x_at, y_at, out_at, queue = map(ctypes.c_void_p, (alpha, beta, *addresses, stream))
    with _described(problem) as (operation, of_x, of_y, of_out):
        refused = _library().cublasLtMatmul(
            *(_handle(), operation, factor, x_at, of_x, y_at, of_y, plus, out_at, of_out, out_at, of_out),
            *(ctypes.byref(algorithm), None, ctypes.c_size_t(0), queue),
        )
    return not refused


@lru_cache(maxsize=1024)
def _algorithm(problem: Problem, kernel: tuple[int, int], capability: str) -> _Algorithm | None:
    """One that cuBLAS proposes for a problem, but with that `kernel`; None where it has no such one."""
    library, itemsize = _library(), np.dtype(problem.dtype).itemsize
    if library is None or capability != MEASURED_ON or any(x * itemsize % ALIGNED_NBYTES for x in problem.leading):
        return None
    proposals, found = (_Proposal * _PROPOSALS)(), ctypes.c_int()
    with _described(problem) as (operation, x, y, out), _preference() as preference:
        about = _handle(), operation, x, y, out, out
        if library.cublasLtMatmulAlgoGetHeuristic(*about, preference, _PROPOSALS, proposals, ctypes.byref(found)):
            return None
        for proposal in proposals[: found.value]:
            algorithm: _Algorithm = proposal.algorithm
            ours, checked, refused = ctypes.byref(algorithm), _Proposal(), proposal.status
            for attribute, value in zip((_TILE, _STAGES), kernel, strict=True):
                refused = refused or _set(library.cublasLtMatmulAlgoConfigSetAttribute, ours, attribute, value)
            refused = refused or library.cublasLtMatmulAlgoCheck(*about, ours, ctypes.byref(checked))
            if not refused and not checked.workspace_nbytes:
                return algorithm
    return None


@contextmanager
def _described(problem: Problem) -> Iterator[tuple[ctypes.c_void_p, ...]]:
    """What cuBLASLt wants to be told of a product: the operation, both operands, the result."""
    library = _library()
    kind, arithmetic = problem.types
    m, n, k = problem.sizes
    shapes = [(k, m) if problem.transposed[0] else (m, k), (n, k) if problem.transposed[1] else (k, n), (m, n)]
    with ExitStack() as stack:
        operation = _made(stack, "MatmulDesc", arithmetic, kind)
        for attribute, flag in zip(_TRANSPOSED, problem.transposed, strict=True):
            _check(_set(library.cublasLtMatmulDescSetAttribute, operation, attribute, flag))
        layouts = [
            _made(stack, "MatrixLayout", kind, ctypes.c_uint64(rows), ctypes.c_uint64(columns), ctypes.c_int64(leading))
            for (rows, columns), leading in zip(shapes, problem.leading, strict=True)
        ]
        yield operation, *layouts


@contextmanager
def _preference() -> Iterator[ctypes.c_void_p]:
    """No workspace, and addresses that need not be multiples of more than `ALIGNED_NBYTES`."""
    with ExitStack() as stack:
        preference = _made(stack, "MatmulPreference")
        for attribute in _MIN_ALIGNMENT:
            _check(_set(_library().cublasLtMatmulPreferenceSetAttribute, preference, attribute, ALIGNED_NBYTES))
        yield preference


def _made(stack: ExitStack, kind: str, *arguments: Any) -> ctypes.c_void_p:
    """A descriptor of cuBLASLt, until the end of the stack."""
    library, descriptor = _library(), ctypes.c_void_p()
    _check(getattr(library, f"cublasLt{kind}Create")(ctypes.byref(descriptor), *arguments))
    stack.callback(getattr(library, f"cublasLt{kind}Destroy"), descriptor)
    return descriptor


def _set(setter: Any, what: Any, attribute: int, value: int) -> int:
    """Set an attribute of 4 bytes; the status."""
    number = ctypes.c_uint32(value)
    return int(setter(what, attribute, ctypes.byref(number), ctypes.c_size_t(ctypes.sizeof(number))))


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuBLASLt failed with status {status}")


def _handle() -> ctypes.c_void_p:
    """Handle of this thread on its GPU: those of cuBLAS are handles of cuBLASLt, too."""
    return ctypes.c_void_p(cupy.cuda.device.get_cublas_handle())


@cache
def _library() -> Any:
    """That which cuBLAS has loaded; None if it goes by another name."""
    major = cublas.getVersion(cupy.cuda.device.get_cublas_handle()) // 10000
    try:
        return ctypes.CDLL(f"libcublasLt.so.{major}")
    except OSError:
        return None
