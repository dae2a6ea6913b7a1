"""Functions of arrays, element by element, as one pass over each chunk."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.utils import funcname

from overspill import backend
from overspill.errors import ArrayError, DTypeError
from overspill.kernels.origin import note
from overspill.kernels.stand_in import StandIn
from overspill.ops.fusion import Call, Fused, Plain, fuse


def elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of arrays one pass over each chunk: one kernel on a GPU, one sweep through the cache on a CPU.

    Use it as a decorator. The function may use operators, `where`, `clip`, `astype`, `real`, `imag` and every
    elementwise function of NumPy with one result; its results have the values and the element types that NumPy gives it
    on whole arrays. What cannot be fused is called as it is, chunk by chunk, and a `FusionWarning` names the operation.

    Parameters
    ----------
    function
        Takes arrays and scalars, by position or by name, and returns an array or a tuple of arrays. Arrays are Dask,
        NumPy or CuPy arrays of shapes that broadcast; every result has the shape that they broadcast to.

    Returns
    -------
    Callable
        The same function: of Dask arrays lazy, with a Dask array for each result.

    Raises
    ------
    ArrayError
        When called, if the function is not elementwise: results of another shape, or which depend on neighbours.
    DTypeError
        When called, for arrays of Python objects.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import overspill as osp
    >>> @osp.elementwise
    ... def wave(x, phase=0.0):
    ...     return np.sin(x + phase) ** 2 + np.cos(x) * x
    >>> x = da.linspace(0, 1, 1000, chunks=250)
    >>> bool(np.allclose(wave(x, phase=0.5), np.sin(x + 0.5) ** 2 + np.cos(x) * x))
    True
    """

    @functools.wraps(function)
    def apply(*arguments: Any, **keywords: Any) -> Any:
        given = (*arguments, *keywords.values())
        places = tuple(place for place, x in enumerate(given) if _is_array(x))
        if not places or any(isinstance(x, StandIn) for x in given):  # of an outer function, which is being traced
            return function(*arguments, **keywords)
        arrays, name = [given[place] for place in places], funcname(function)
        for x in arrays:
            chunk = getattr(x, "_meta", x)
            if not (type(chunk) is np.ndarray or backend.is_device_array(chunk)):
                raise ArrayError(
                    f"{name} takes chunks of numpy.ndarray or cupy.ndarray, not of {type(chunk).__name__}: use "
                    f"da.map_blocks"
                )
            if x.dtype.hasobject:
                raise DTypeError(f"{name} cannot be fused for elements of type {x.dtype}: cast with x.astype()")
        others = tuple(None if place in places else x for place, x in enumerate(given))
        fused = fuse(Call(function, others, places, tuple(keywords)), arrays)
        if any(isinstance(x, da.Array) for x in arrays):
            return _lazily(fused, [da.asarray(x) for x in arrays])
        return fused(*arrays)

    return apply


def _is_array(x: Any) -> bool:
    return isinstance(x, da.Array | np.ndarray) or backend.is_device_array(x)


def _lazily(fused: Fused | Plain, arrays: Sequence[da.Array]) -> Any:
    residence: backend.Residence = (
        "device" if any(backend.residence_of(x._meta) == "device" for x in arrays) else "host"
    )
    ndim = max(x.ndim for x in arrays)
    pairs: list[Any] = []
    for x in arrays:
        pairs += [x, tuple(range(ndim - x.ndim, ndim))]
    token = tokenize(fused, *arrays)
    metas = [backend.meta(residence, dtype, ndim) for dtype in fused.dtypes]
    results: tuple[da.Array, ...]
    if fused.single:
        results = (_blockwise(fused, ndim, pairs, dtype=fused.dtypes[0], meta=metas[0], name=f"{fused.name}-{token}"),)
    else:
        results = _several(fused, ndim, pairs, metas, token)
    if isinstance(fused, Fused):
        for number, y in enumerate(results):
            note(y, fused.expression, number, arrays)
    return results[0] if fused.single else results


def _several(
    fused: Fused | Plain, ndim: int, pairs: Sequence[Any], metas: Sequence[Any], token: str
) -> tuple[da.Array, ...]:
    tuples = np.empty((0,) * ndim, object)
    together = _blockwise(fused, ndim, pairs, dtype=tuples.dtype, meta=tuples, name=f"{fused.name}-all-{token}")
    return tuple(
        da.map_blocks(operator.getitem, together, number, dtype=dtype, meta=meta, name=f"{fused.name}-{number}-{token}")
        for number, (dtype, meta) in enumerate(zip(fused.dtypes, metas, strict=True))
    )


def _blockwise(fused: Fused | Plain, ndim: int, pairs: Sequence[Any], **keywords: Any) -> da.Array:
    try:
        y: da.Array = da.blockwise(fused, range(ndim), *pairs, **keywords)
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in pairs[::2])
        raise ArrayError(
            f"{fused.name} cannot align arrays of shapes {shapes}: pass shapes that broadcast, and where chunks have "
            f"unknown sizes call x.compute_chunk_sizes() first"
        ) from None
    return y
