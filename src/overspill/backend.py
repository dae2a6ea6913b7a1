"""Which array library an array belongs to. One of the few modules that may import cupy, and only when asked to."""

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np

Residence = Literal["host", "device"]


@dataclass(frozen=True, slots=True)
class GPU:
    """A GPU this process may use: its name and its memory in bytes."""

    name: str
    nbytes: int


@cache
def gpus() -> tuple[GPU, ...]:
    """The GPUs this process may use; none without a driver or without cupy. Creates no CUDA context."""
    if importlib.util.find_spec("cupy") is None:
        return ()
    import cupy

    try:
        properties = [cupy.cuda.runtime.getDeviceProperties(i) for i in range(cupy.cuda.runtime.getDeviceCount())]
    except cupy.cuda.runtime.CUDARuntimeError:
        return ()
    return tuple(GPU(p["name"].decode(), int(p["totalGlobalMem"])) for p in properties)


def is_device_array(x: Any) -> bool:
    """Whether `x` is a CuPy array; never imports cupy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def array_namespace(x: Any) -> ModuleType:
    """The module, `numpy` or `cupy`, whose functions apply to `x`."""
    return sys.modules["cupy"] if is_device_array(x) else np


def residence_of(meta: Any) -> Residence:
    """Where chunks like `meta` live."""
    return "device" if is_device_array(meta) else "host"


def meta(residence: Residence, dtype: np.dtype[Any], ndim: int) -> Any:
    """An empty array of the kind that lives at `residence`, for Dask to know chunks by."""
    xp = importlib.import_module("cupy") if residence == "device" else np
    return xp.empty((0,) * ndim, dtype)


def to_numpy(x: Any) -> np.ndarray[Any, Any]:
    """`x` in host memory; `x` itself when it is there already."""
    return np.asarray(x.get() if is_device_array(x) else x)
