"""Our CUDA kernels, compiled for the current device, and what of the device says how to launch them."""

from functools import cache
from typing import Any

import cupy

from overspill.kernels import sources

THREADS = 256
"""Threads of a block, in all kernels."""


@cache
def kernel(file: str, name: str, *parameters: str | int | bool) -> Any:
    """A kernel, to be compiled once a device."""
    expression = sources.expression(name, *parameters)
    assert expression in sources.instantiations()[file], expression
    code = sources.text(file)
    return cupy.RawModule(code=code, options=("-std=c++17",), name_expressions=[expression]).get_function(expression)


def multiprocessors() -> int:
    """Multiprocessors of the current device."""
    return _attributes(cupy.cuda.runtime.getDevice())["MultiProcessorCount"]


def cache_nbytes() -> int:
    """Size of the current device's L2 cache."""
    return _attributes(cupy.cuda.runtime.getDevice())["L2CacheSize"]


@cache
def _attributes(device: int) -> dict[str, int]:
    attributes: dict[str, int] = cupy.cuda.Device(device).attributes
    return attributes
