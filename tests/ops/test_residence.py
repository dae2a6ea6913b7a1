from types import ModuleType

import dask
import dask.array as da
import numpy as np
import pytest

import overspill as osp
from cases import matrix, random_array
from overspill import memory
from overspill.ops.residence import holds_tiles


def blocks(x: da.Array) -> list[object]:
    return list(dask.compute(*x.to_delayed().ravel(), scheduler="synchronous"))


@pytest.mark.parametrize("dtype", ["float64", "complex64", "int8", "bool"])
def test_chunks_become_tiles(xp: ModuleType, dtype: str) -> None:
    values = matrix((600, 700), dtype)
    x = osp.to_host(da.from_array(xp.asarray(values), chunks=(300, 400)))
    assert x.chunks == ((300, 300), (400, 300))
    assert (x.dtype, type(x._meta)) == (np.dtype(dtype), np.ndarray)
    assert all(memory.is_tile(block) for block in blocks(x))
    np.testing.assert_array_equal(x.compute(), values)


@pytest.mark.parametrize("shape", [(), (5,), (0,), (3, 4, 5)])
def test_any_shape_will_do(shape: tuple[int, ...]) -> None:
    x = osp.to_host(da.ones(shape))
    assert x.shape == shape
    np.testing.assert_array_equal(x.compute(), np.ones(shape))


def test_tiles_are_not_copied_again() -> None:
    x = osp.to_host(random_array(((300, 300), (400, 300))))
    assert osp.to_host(x) is x
    c = osp.matmul(x, x[:600, :].T, chunks=300)
    assert osp.to_host(c) is c
    assert all(memory.is_tile(block) for block in blocks(c))
    assert not holds_tiles(x + 1)


def test_nothing_is_computed() -> None:
    def explode(block: object) -> object:
        raise AssertionError("computed")

    osp.to_host(da.ones((10, 10)).map_blocks(explode, dtype=float, meta=np.empty((0, 0))))


@pytest.mark.gpu
def test_a_product_on_a_gpu_comes_back() -> None:
    x = random_array(((300, 300), (400, 200)))
    c = osp.matmul(x, x, residence="device", device_memory="64MiB")
    back = osp.to_host(c)
    assert isinstance(back.compute(), np.ndarray)
    assert all(isinstance(block, np.ndarray) for block in blocks(back))
