"""How row blocks of sparse matrices travel under Dask distributed: their arrays as any others, tiles as handles."""

import pickle
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from distributed.protocol.serialize import dask_deserialize, dask_serialize
from scipy.sparse import csr_array

_NAMES = ("data", "indices", "indptr")


def register() -> None:
    """Teach this process's Dask to send SciPy's CSR arrays, and how large they and CuPy's are: not 56 bytes."""
    dask_serialize.register(csr_array)(_serialize)
    dask_deserialize.register(csr_array)(_deserialize)
    sizeof.register(csr_array)(_sizeof)
    sizeof.register_lazy("cupyx")(_register_cupyx)


def _serialize(x: csr_array[Any], context: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], list[Any]]:
    headers, frames = [], []
    for name in _NAMES:
        header, parts = dask_serialize.dispatch(np.ndarray)(getattr(x, name), context=context)
        headers.append((header, len(parts)))
        frames += parts
    # The property would look through all entries where nobody has yet.
    canonical = bool(getattr(x, "_has_canonical_format", False))
    return {"overspill-csr": pickle.dumps((headers, x.shape, canonical))}, frames


def _deserialize(header: dict[str, Any], frames: list[Any]) -> csr_array[Any]:
    headers, shape, canonical = pickle.loads(header["overspill-csr"])
    arrays, first = [], 0
    for about, count in headers:
        arrays.append(dask_deserialize.dispatch(np.ndarray)(about, frames[first : first + count]))
        first += count
    # SciPy's own constructor would look through all 64-bit indices, and copy them if 32 bits did.
    x: csr_array[Any] = csr_array(shape, dtype=arrays[0].dtype)
    x.data, x.indices, x.indptr = arrays
    if canonical:
        x.has_canonical_format = True
    return x


def _register_cupyx() -> None:
    # Called for the first object of cupyx: the module is there where that is a sparse matrix.
    if (module := sys.modules.get("cupyx.scipy.sparse")) is not None:
        sizeof.register(module.csr_matrix)(_sizeof)


def _sizeof(x: Any) -> int:
    return sum(sizeof(getattr(x, name)) for name in _NAMES)
