"""As much of CuPy as our kernels' launchers use, in host memory: kernels are compiled by g++ and run there."""

import ctypes
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import overspill.kernels
from overspill.kernels import sources

HERE = Path(__file__).parent


class Array(np.ndarray):
    """An array that has what CuPy's have and NumPy's lack."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> np.ndarray:
        return np.asarray(self)


def device_array(x: Any) -> Any:
    return np.asarray(x).view(Array)


class Block:
    """A row block: what the launchers see of a ``cupyx.scipy.sparse.csr_matrix``."""

    def __init__(self, matrix: Any) -> None:
        self.shape, self.nnz, self.dtype = matrix.shape, matrix.nnz, matrix.dtype
        self.indptr, self.indices, self.data = map(device_array, (matrix.indptr, matrix.indices, matrix.data))


class Library:
    """Instantiations of a source, compiled once: for all further tests too, as long as no text changes."""

    def __init__(self, code: str, expressions: Sequence[str], folder: Path) -> None:
        calls = "\n".join(
            f'extern "C" void run_{i}(unsigned x, unsigned y, int n, void** a) {{ host::launch({e}, x, y, n, a); }}'
            for i, e in enumerate(expressions)
        )
        header = (HERE / "cuda_on_host.hpp").read_text(encoding="utf-8")
        program = f"{header}\n{code}\n{calls}\n"
        path = folder / f"{hashlib.sha256(program.encode()).hexdigest()[:16]}.so"
        if not path.exists():
            command = ["g++", "-std=c++20", "-O1", "-w", "-shared", "-fPIC", "-x", "c++", "-", "-o"]
            partial = path.with_suffix(".partial")
            subprocess.run([*command, str(partial)], input=program, text=True, check=True)
            partial.rename(path)
        library = ctypes.CDLL(str(path))
        self.functions = {e: getattr(library, f"run_{i}") for i, e in enumerate(expressions)}


def launchers(folder: Path, on_trial: Callable[[str], bool], *names: str) -> list[ModuleType]:
    """Modules of `overspill.kernels`, over kernels that the host runs; nobody else sees them.

    Of a source all instantiations that are `on_trial` are compiled at once, others as they are needed.
    """
    if not shutil.which("g++"):
        pytest.skip("needs g++, to run kernels where there is no GPU")
    tested = [expression for parts in sources.instantiations().values() for expression in parts if on_trial(expression)]
    modules = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", module(folder, sorted(tested)))
        for name in names:
            spec = importlib.util.find_spec(f"overspill.kernels.{name}")
            assert spec is not None and spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, spec.name, loaded)
            spec.loader.exec_module(loaded)
            patch.setattr(overspill.kernels, name, loaded, raising=False)
            modules.append(loaded)
    return modules


def module(folder: Path, tested: Sequence[str]) -> ModuleType:
    """The stand-in for ``cupy``; of a source it compiles what is `tested` all at once."""
    libraries: dict[tuple[str, ...], Library] = {}

    class RawModule:
        def __init__(self, code: str, options: tuple[str, ...], name_expressions: list[str]) -> None:
            (expression,) = name_expressions
            wanted = [e for e in tested if f" {e.partition('<')[0]}(" in code] if expression in tested else [expression]
            key = code, *wanted
            if key not in libraries:
                libraries[key] = Library(code, wanted, folder)
            self.library = libraries[key]

        def get_function(self, expression: str) -> Any:
            function = self.library.functions[expression]

            def launch(grid: tuple[int, ...], block: tuple[int], arguments: tuple[Any, ...]) -> None:
                values = [
                    ctypes.c_void_p(a.ctypes.data)
                    if isinstance(a, np.ndarray)
                    else {np.int32: ctypes.c_int, np.int64: ctypes.c_longlong}[type(a)](int(a))
                    for a in arguments
                ]
                pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
                x, y = (*grid, 1)[:2]
                function(ctypes.c_uint(x), ctypes.c_uint(y), ctypes.c_int(block[0]), pointers)

            return launch

    cupy: Any = ModuleType("cupy")
    cupy.ndarray = Array
    cupy.RawModule = RawModule
    names = ("zeros", "empty", "full", "ascontiguousarray", "bincount", "concatenate", "diff", "cumsum")
    for name in (*names, "searchsorted", "arange", "minimum", "count_nonzero"):
        setattr(cupy, name, _on_device(getattr(np, name)))
    device = SimpleNamespace(attributes={"MultiProcessorCount": 2, "L2CacheSize": 2**20})
    stream = SimpleNamespace(ptr=0, record=lambda: None)
    cupy.cuda = SimpleNamespace(
        Device=lambda _: device, runtime=SimpleNamespace(getDevice=lambda: 0), get_current_stream=lambda: stream
    )
    return cupy


def _on_device(function: Any) -> Any:
    return lambda *args, **kwargs: device_array(function(*args, **kwargs))
