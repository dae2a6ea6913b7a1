"""Products of a matrix in host memory without Dask: page-locked arrays, two streams a GPU, and CuPy's product."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from contenders import Limits
from numpy.typing import NDArray
from sparse_stream_matrix import Size, check, matrix, vector
from spill_works import speeds

from overspill.sparse import CSRMatrix

Arrays: TypeAlias = tuple[NDArray[Any], ...]
"""Values, columns and row pointers of a row block."""


def by_hand(stack: ExitStack, limits: Limits, size: Size) -> dict[str, Any]:
    """One process without Dask: page-locked arrays, two streams a GPU, and a thread for each GPU."""
    start = time.perf_counter()
    A = matrix(size)
    with ThreadPoolExecutor() as pool:
        blocks = list(pool.map(partial(_page_locked, A, size), range(size.blocks)))
    shares = np.array_split(np.arange(size.blocks), limits.workers)
    cards = [Card(device, [blocks[number] for number in share], size.rows) for device, share in enumerate(shares)]
    threads = stack.enter_context(ThreadPoolExecutor(limits.workers))
    made_s = time.perf_counter() - start
    seconds = []
    for _ in range(1 + size.repeats):
        parts: list[Any] = []
        start = time.perf_counter()
        parts = [part for found in threads.map(Card.product, cards) for part in found]
        seconds.append(time.perf_counter() - start)
    on_host = [_down(part) for part in parts]
    value = sum(float(part.sum()) for part in on_host)
    rows_checked = check(size, lambda number, rows: on_host[number][rows])
    nbytes = sum(array.nbytes for block in blocks for array in block)
    return speeds(nbytes, seconds) | {"made_s": made_s, "value": value, "rows_checked": rows_checked}


class Card:
    """A GPU that multiplies blocks with a vector of its own, one going up while the one before is multiplied.

    Parameters
    ----------
    device
        Its number.
    blocks
        Values, columns and row pointers of each, page-locked.
    columns
        Of the matrix.
    """

    def __init__(self, device: int, blocks: Sequence[Arrays], columns: int) -> None:
        import cupy

        self.device, self.blocks = device, blocks
        with cupy.cuda.Device(device):
            self.x = vector(cupy, 0, columns)
            self.streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
            # The parts of a block in rooms that any block fits: nothing is allocated between copies.
            self.rooms = [
                [cupy.empty(max(map(len, arrays)), arrays[0].dtype) for arrays in zip(*blocks, strict=True)]
                for _ in self.streams
            ]
            cupy.cuda.Device().synchronize()

    def product(self) -> list[Any]:
        """The rows of the product, block by block."""
        import cupy

        parts = []
        with cupy.cuda.Device(self.device):
            self._bring_up(0)
            for number in range(len(self.blocks)):
                if number + 1 < len(self.blocks):
                    self._bring_up(number + 1)  # queued first: making CuPy's matrix waits for the copy before
                parts.append(self._multiply(number))
            for stream in self.streams:
                stream.synchronize()
        return parts

    def _bring_up(self, number: int) -> None:
        """Queue the copies of a block into the room that the one before the last has left."""
        stream = self.streams[number % 2]
        for room, array in zip(self.rooms[number % 2], self.blocks[number], strict=True):
            room.data.copy_from_host_async(array.ctypes.data, array.nbytes, stream)

    def _multiply(self, number: int) -> Any:
        import cupyx.scipy.sparse

        block = self.blocks[number]
        with self.streams[number % 2]:
            arrays = tuple(room[: len(array)] for room, array in zip(self.rooms[number % 2], block, strict=True))
            A = cupyx.scipy.sparse.csr_matrix(arrays, shape=(len(block[2]) - 1, len(self.x)))
            A.has_canonical_format = True  # else it is looked through
            return A @ self.x


def _page_locked(A: CSRMatrix, size: Size, number: int) -> Arrays:
    """The arrays of a block, its columns counted from the matrix's first."""
    import cupyx

    block = A[slice(*size.bounds(number))].compute(scheduler="synchronous")
    arrays = []
    for array in (block.data, block.indices, block.indptr):
        arrays.append(cupyx.empty_pinned(array.shape, array.dtype))
        arrays[-1][:] = array
    return tuple(arrays)


def _down(part: Any) -> NDArray[Any]:
    with part.device:
        return np.asarray(part.get())
