import importlib.util
import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from overspill import backend


def test_arrays_know_their_namespace_and_residence(xp: ModuleType) -> None:
    x = xp.ones((2, 3))
    assert backend.array_namespace(x) is xp
    assert backend.is_device_array(x) == (xp is not np)
    assert backend.residence_of(x) == ("host" if xp is np else "device")
    assert type(backend.to_numpy(x)) is np.ndarray
    np.testing.assert_array_equal(backend.to_numpy(x), np.ones((2, 3)))


def test_an_array_in_host_memory_is_not_copied() -> None:
    x = np.ones(3)
    assert backend.to_numpy(x) is x


def test_meta_has_no_elements_and_lives_where_asked(xp: ModuleType) -> None:
    residence = "host" if xp is np else "device"
    meta = backend.meta(residence, np.dtype("float32"), 3)
    assert (type(meta), meta.shape, meta.dtype.name) == (xp.ndarray, (0, 0, 0), "float32")
    assert backend.residence_of(meta) == residence


def test_without_cupy_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec

    def without_cupy(name: str, *args: Any) -> Any:
        return None if name == "cupy" else find_spec(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without_cupy)
    assert backend.gpus.__wrapped__() == ()


@pytest.mark.gpu
def test_each_gpu_has_a_name_and_memory() -> None:
    assert all(gpu.name and gpu.nbytes > 2**30 for gpu in backend.gpus())


@pytest.mark.skipif(find_spec("cupy") is not None, reason="Zarr imports cupy where it is installed")
def test_asking_where_an_array_lives_imports_no_cupy() -> None:
    code = (
        "import sys, numpy; from overspill import backend; x = numpy.ones(3); backend.to_numpy(x); "
        "backend.residence_of(x); assert 'cupy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
