"""A stand-in for what the pipeline of products uses of CuPy: what is queued on a stream happens later, in its thread.

Every operation is delayed a little, by chance, and memory that is given back is overwritten at once. So whoever does
not wait for an event that he must wait for gets wrong numbers here, and would now and then on a GPU. Loaded as a plugin
(``pytest -p stream.cupy_stand_in``) it stands for a machine with one GPU.
"""

import ctypes
import itertools
import queue
import random
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

DELAY_S = 1e-3

RUBBISH = 255

_current = threading.local()
_streams: "dict[int, Stream]" = {}
_numbers = itertools.count(1)


class Memory:
    """What CuPy calls a memory pointer: bytes that are rubbish at first, and again when nobody holds them."""

    def __init__(self, nbytes: int) -> None:
        self.data = np.full(nbytes, RUBBISH, np.uint8)
        self.ptr = self.data.ctypes.data

    def __del__(self) -> None:
        self.data[...] = RUBBISH


class Array(np.ndarray):
    """An array over such memory, which it and its views keep."""

    memory: Any = None

    def __new__(cls, shape: Any, dtype: Any, memory: Memory) -> "Array":
        array = np.ndarray.__new__(cls, shape, dtype, memory.data)
        array.memory = memory
        return array

    def __array_finalize__(self, of: Any) -> None:
        self.memory = getattr(of, "memory", None)

    def __setitem__(self, where: Any, values: Any) -> None:
        """Queue a copy, which does not keep the memory of what is copied."""
        target, source = self[where].bare, values.bare
        current().queue(lambda: np.copyto(target, source))

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def bare(self) -> NDArray[Any]:
        """The same elements, without holding the memory."""
        memory = self.memory
        return np.ndarray(self.shape, self.dtype, memory.data, self.ctypes.data - memory.ptr, self.strides)

    def get(self) -> NDArray[Any]:
        return np.array(self)


class Event:
    """The last time that it was recorded counts, as of when it is waited for."""

    def __init__(self, **_: Any) -> None:
        self.reached = threading.Event()
        self.reached.set()

    @property
    def done(self) -> bool:
        return self.reached.is_set()

    def record(self, stream: "Stream | None" = None) -> None:
        self.reached = threading.Event()
        (stream or current()).queue(self.reached.set)

    def synchronize(self) -> None:
        self.reached.wait()


class Stream:
    """A thread that does what is queued, in order, taking its time."""

    null: "Stream"

    def __init__(self, **_: Any) -> None:
        self.ptr = next(_numbers)
        _streams[self.ptr] = self
        self._queue: queue.Queue[Callable[[], object]] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def done(self) -> bool:
        return self._queue.unfinished_tasks == 0

    def queue(self, work: Callable[[], object]) -> None:
        self._queue.put(work)

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        self.queue(event.reached.wait)

    def launch_host_func(self, function: Callable[[Any], object], argument: Any) -> None:
        self.queue(lambda: function(argument))

    def synchronize(self) -> None:
        self._queue.join()

    def __enter__(self) -> "Stream":
        _current.streams = [*getattr(_current, "streams", []), self]
        return self

    def __exit__(self, *_: object) -> None:
        _current.streams.pop()

    def _work(self) -> None:
        while True:
            work = self._queue.get()
            time.sleep(random.random() * DELAY_S)
            work()
            self._queue.task_done()


def current() -> Stream:
    """The stream whose block this thread is in, the null stream outside of all."""
    return (getattr(_current, "streams", None) or [Stream.null])[-1]


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of rubbish."""
    return Array(shape, dtype, Memory(int(np.prod(shape)) * np.dtype(dtype).itemsize))


def asarray(x: NDArray[Any]) -> Array:
    """A copy of `x` whose numbers are there once the null stream has come to it, which takes its time."""
    array = empty(x.shape, x.dtype)
    bare = array.bare
    Stream.null.queue(lambda: np.copyto(bare, x))
    return array


def copy(target: int, source: int, nbytes: int, kind: int, stream: int) -> None:
    """Queue a copy between addresses."""
    _streams[stream].queue(lambda: ctypes.memmove(target, source, nbytes))


def copy_rows(
    target: int, target_pitch: int, source: int, source_pitch: int, width: int, height: int, kind: int, stream: int
) -> None:
    """Queue a copy of rows that do not follow each other at once."""

    def copy_all() -> None:
        for row in range(height):
            ctypes.memmove(target + row * target_pitch, source + row * source_pitch, width)

    _streams[stream].queue(copy_all)


def gemm(a: Array, b: Array, c: Array, *, accumulate: bool) -> None:
    """Queue a product, which does not keep its operands' memory."""
    x, y, out = a.bare, b.bare, c.bare
    current().queue(lambda: np.add(out, x @ y, out=out) if accumulate else np.matmul(x, y, out=out))


def pytest_configure() -> None:
    """Let ``import cupy`` find this; not where the module is only looked into for examples."""
    Stream.null = Stream()
    runtime = SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda number: {"name": b"stand-in", "totalGlobalMem": 2**30},
        hostRegister=lambda *_: time.sleep(DELAY_S),
        hostUnregister=lambda *_: None,
        memcpy2DAsync=copy_rows,
        memcpyAsync=copy,
        memcpyDeviceToHost=2,
        memcpyHostToDevice=1,
    )
    cuda = _module(
        "cupy.cuda",
        runtime=runtime,
        Stream=Stream,
        Event=Event,
        alloc=Memory,
        MemoryPointer=Memory,
        get_current_stream=current,
    )
    pool = SimpleNamespace(free_all_blocks=lambda: None)
    _module("cupy", cuda=cuda, ndarray=Array, empty=empty, asarray=asarray, get_default_memory_pool=lambda: pool)
    import overspill.kernels

    kernels = _module("overspill.kernels.gemm_cuda", gemm=gemm, BLOCK_SIDE={}, COLUMN_MAJOR=("float32", "float64"))
    kernels.fastest_order = lambda dtype: "F" if dtype in kernels.COLUMN_MAJOR else "C"
    overspill.kernels.gemm_cuda = kernels
    overspill.kernels.cublaslt = _module("overspill.kernels.cublaslt", KERNELS={"float32": 0, "float64": 0})


def _module(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(attributes)
    sys.modules[name] = module
    return module
