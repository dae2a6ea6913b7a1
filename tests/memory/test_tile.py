import copy
import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from memory.peers import Peer, borrow, drop, same, strides
from overspill import memory
from overspill.errors import MemoryBudgetError
from overspill.memory import tile
from overspill.memory.tile import SMALLEST_NBYTES, from_handle, to_handle


def counted() -> NDArray[np.float64]:
    x = memory.empty((300, 200), float)
    x[...] = np.arange(60_000).reshape(300, 200)
    return x


VIEWS = {
    "itself": lambda x: x,
    "slice": lambda x: x[20:50, 3:],
    "element rows": lambda x: x[7],
    "steps": lambda x: x[::3, ::7],
    "transpose": lambda x: x.T,
    "backwards": lambda x: x[::-1, ::-2],
    "reshape": lambda x: x.reshape(2, 150, 200),
    "new axis": lambda x: x[:, None],
    "other type": lambda x: x.view(np.int64),
    "broadcast": lambda x: np.broadcast_to(x[:, :1], (300, 5)),
    "real part": lambda x: x.view(complex).imag,
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_a_tile_and_travels_as_a_handle_as_it_is(view: str, peer: Peer) -> None:
    x = counted()
    seen = VIEWS[view](x)
    assert memory.is_tile(seen)
    handle = to_handle(seen)
    assert handle is not None
    assert len(pickle.dumps(handle)) < 600
    peer(borrow, "x", handle)
    assert peer(same, "x", np.ascontiguousarray(seen))
    assert peer(strides, "x") == seen.strides
    back = from_handle(handle)
    np.testing.assert_array_equal(back, seen)
    assert not back.flags.writeable, "nobody changes another's tile"
    peer(drop, "x")


COMPUTED = {
    "ufunc": lambda x: np.add(x, 1),
    "operator": lambda x: -x,
    "copy": lambda x: x.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "fancy index": lambda x: x[[1, 2]],
    "mask": lambda x: x[x > 5],
    "reduction": lambda x: x.sum(axis=0),
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "astype": lambda x: x.astype("float32"),
    "flattened transpose": lambda x: x.T.reshape(-1),
}


@pytest.mark.parametrize("function", COMPUTED)
def test_what_is_computed_is_an_ordinary_array(function: str) -> None:
    x = counted()
    result = COMPUTED[function](x)
    assert type(result) is np.ndarray
    assert not memory.is_tile(result)
    assert to_handle(result) is None
    assert not np.shares_memory(result, x)
    np.testing.assert_array_equal(result, COMPUTED[function](np.array(x)))
    assert result.flags.writeable


def test_a_tile_is_an_ordinary_array_to_numpy() -> None:
    x = counted()
    assert type(x) is np.ndarray
    assert x.flags.c_contiguous and x.flags.writeable and x.flags.aligned
    x += 1
    np.multiply(x, 2, out=x)
    assert x[0, 1] == 4
    assert memory.is_tile(x)


@pytest.mark.parametrize("dtype", ["float16", "complex128", "int8", "bool", "datetime64[s]", "U3"])
def test_any_plain_element_type_travels(dtype: str, peer: Peer) -> None:
    x = memory.empty((300, 1000), dtype)
    x[...] = np.ones((), "int8").astype(dtype)
    np.testing.assert_array_equal(from_handle(to_handle(x)), x)


def test_small_and_empty_arrays_are_ordinary() -> None:
    assert not memory.is_tile(memory.empty((SMALLEST_NBYTES - 1,), "u1"))
    assert memory.is_tile(memory.empty((SMALLEST_NBYTES,), "u1"))
    for shape in ((0,), (0, 10**9), (10, 0)):
        x = memory.empty(shape, float)
        assert x.shape == shape
        assert not memory.is_tile(x)
        assert to_handle(x) is None


def test_an_empty_view_travels_as_an_array() -> None:
    x = counted()
    assert to_handle(x[:0]) is None


@pytest.mark.parametrize("other", [None, 3, [1, 2], np.float64(1), np.ones(3)])
def test_nothing_else_is_a_tile(other: Any) -> None:
    assert not memory.is_tile(other)


def test_subclasses_and_records_have_no_handle() -> None:
    x = counted()
    assert to_handle(np.ma.masked_array(x, mask=x > 5)) is None
    assert to_handle(x.view([("a", float), ("b", float)])) is None


def test_what_is_a_tile_already_is_not_copied() -> None:
    x = counted()
    assert memory.as_tile(x) is x
    for other in (x.T, x[:, :150], np.ones((300, 200), order="F")):
        made = memory.as_tile(other)
        assert memory.is_tile(made) and made.flags.c_contiguous
        assert not np.shares_memory(made, x)
        np.testing.assert_array_equal(made, other)


def test_the_limit_may_change_while_tiles_live() -> None:
    x = counted()
    memory.configure(pool_nbytes=0)
    beyond = memory.empty((300, 200), float)
    assert tile.pool().overflow_nbytes >= beyond.nbytes
    memory.configure(pool_nbytes=2**30)
    assert tile.pool().nbytes >= x.nbytes


def test_what_locks_pages_is_given_every_tile_as_it_is_made() -> None:
    given: list[Any] = []
    memory.configure(pool_nbytes=2**30, lock_pages=given.append)
    x = counted()
    memory.empty((3,), float)  # too small for a tile
    memory.empty((300, 200), float, lock=False)
    memory.configure(pool_nbytes=2**30)
    counted()
    assert [memory.is_tile(tile) and np.shares_memory(tile, x) for tile in given] == [True]


@pytest.mark.parametrize("end", [memory.close, tile._forget], ids=["closed", "forked"])
def test_pages_are_locked_no_more_once_the_pool_is_given_up(end: Callable[[], None]) -> None:
    given: list[Any] = []
    memory.configure(pool_nbytes=2**30, lock_pages=given.append)
    end()
    assert memory.is_tile(counted())
    assert given == []


def test_tiles_outlive_the_closing_of_their_pool() -> None:
    x = counted()
    memory.close()
    assert (x == np.arange(60_000).reshape(300, 200)).all()
    assert memory.is_tile(x)
    from_handle(to_handle(x))


def test_a_forked_child_has_a_pool_of_its_own() -> None:
    script = """
import os
from overspill import memory

n = 100_000
kept = memory.empty((n,), "u1")
kept[:] = 1
idle = memory.empty((n,), "u1")
idle[:] = 2
address = idle.__array_interface__["data"][0]
del idle
pid = os.fork()
if pid == 0:
    mine = memory.empty((n,), "u1")
    mine[:] = 3
    del kept, mine
    memory.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert (kept == 1).all()
again = memory.empty((n,), "u1")
assert again.__array_interface__["data"][0] == address
assert (again == 2).all(), "the child wrote into a block of its parent"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_descriptors_arrays_are_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    x = memory.empty((300, 200), float)
    assert x.shape == (300, 200)
    assert not memory.is_tile(x)


def test_a_full_pool_before_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    memory.configure(pool_nbytes=0, directory=str(tmp_path))
    with pytest.raises(MemoryBudgetError, match=rf"full \(0 B\) and {tmp_path} has no room for 469 KiB more: raise"):
        memory.empty((300, 200), float)


def test_a_file_system_without_unnamed_files_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = os.open

    def refuse(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return plain(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    memory.configure(pool_nbytes=0, directory=str(tmp_path))
    x = memory.empty((300, 200), float)
    x[...] = 7
    assert memory.is_tile(x)
    assert x.sum() == 7 * x.size
    assert list(tmp_path.iterdir()) == []
