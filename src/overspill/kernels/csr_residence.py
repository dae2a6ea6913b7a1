"""Row blocks of sparse matrices, and what they are multiplied to: on the host in tiles, or on a device."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import csr_array

from overspill import backend, memory
from overspill.kernels import csr_known
from overspill.memory import link


def residence_of(block: Any) -> backend.Residence:
    """Where the block lies."""
    return "host" if isinstance(block, csr_array) else "device"


def empty(residence: backend.Residence, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
    """A dense array to be filled: a tile on the host, else on the GPU."""
    if residence == "host":
        return memory.empty(shape, dtype)
    return backend.array_namespace(backend.meta(residence, np.dtype(dtype), ndim=0)).empty(shape, dtype)


def index_dtype(nnz: int, width: int) -> np.dtype[Any]:
    """The smaller of int32 and int64 that counts `nnz` entries and `width` columns."""
    return np.dtype(np.int32 if max(nnz, width) <= np.iinfo(np.int32).max else np.int64)


def make(data: Any, indices: Any, indptr: Any, width: int) -> Any:
    """The canonical block of these arrays, which it shares, where they lie; its columns are `width`.

    Neither SciPy's nor CuPy's own constructor will do: one looks through all 64-bit indices, the other waits for the
    device.
    """
    shape = len(indptr) - 1, width
    if backend.is_device_array(data):
        import cupyx.scipy.sparse

        block = cupyx.scipy.sparse.csr_matrix(shape, dtype=data.dtype)
    else:
        block = csr_array(shape, dtype=data.dtype)
    block.data, block.indices, block.indptr = data, indices, indptr
    block.has_canonical_format = True
    return block


def to_device(block: Any) -> Any:
    """The block on the GPU; itself where it is on one already. Copies are queued and not waited for."""
    if residence_of(block) == "device":
        return block
    index = index_dtype(block.nnz, block.shape[1])  # half the bytes where 64 bits came from elsewhere
    indices, indptr = (x.astype(index, copy=False) for x in (block.indices, block.indptr))
    copy = make(link.upload(block.data), link.upload(indices), link.upload(indptr), block.shape[1])
    csr_known.share(block, copy)  # so that the copy of the next product need not be waited for
    return copy


def to_host(block: Any) -> csr_array[Any]:
    """The block in host memory, its arrays in tiles."""
    place = link.download if residence_of(block) == "device" else memory.as_tile
    host: csr_array[Any] = make(place(block.data), place(block.indices), place(block.indptr), block.shape[1])
    return host
