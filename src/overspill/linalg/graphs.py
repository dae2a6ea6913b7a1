"""The space of Dask arrays: each operation a few tasks a chunk, each reduction one tree and one answer."""

from typing import Any

import dask.array as da
import numpy as np
from dask.base import persist, tokenize
from numpy.typing import NDArray

from overspill import backend
from overspill.kernels.dots import dots
from overspill.kernels.update import Update, update
from overspill.linalg import space
from overspill.ops.fusion import in_one_place

FAN_IN = 256
"""Chunks' numbers that one task adds up at most: each level of the tree takes Dask some 5 ms."""


class Graphs:
    """The space of Dask vectors of the same chunks, and blocks of these that have all columns in one chunk.

    Sums run over chunks in a fixed tree, so that results are the same bits on any number of workers.
    """

    def dots(self, *pairs: tuple[Any, Any]) -> tuple[Any, ...]:
        """See `overspill.linalg.space.Space.dots`."""
        vectors = list({x.name: x for pair in pairs for x in pair}.values())
        places = {x.name: place for place, x in enumerate(vectors)}
        indices = tuple((places[x.name], places[y.name]) for x, y in pairs)
        sums = _summed(_dots_of_chunks, vectors, (len(pairs),), indices)
        return tuple(sums.tolist())

    def gram(self, X: Any, Y: Any) -> NDArray[Any]:
        """See `overspill.linalg.space.Space.gram`."""
        rows, columns = (blocks if isinstance(blocks, tuple) else (blocks,) for blocks in (X, Y))
        shape = sum(x.shape[1] for x in rows), sum(y.shape[1] for y in columns)
        return _summed(_gram_of_chunks, [*rows, *columns], shape, len(rows))

    def join(self, *blocks: Any) -> Any:
        """See `overspill.linalg.space.Space.join`."""
        columns = sum(1 if x.ndim == 1 else x.shape[1] for x in blocks)
        return _side_by_side(_joined, blocks, columns, np.result_type(*blocks))

    def combine(self, *terms: tuple[Any, NDArray[Any]]) -> Any:
        """See `overspill.linalg.space.Space.combine`."""
        blocks, coefficients = zip(*terms, strict=True)
        return _side_by_side(_combined, blocks, coefficients[0].shape[1], blocks[0].dtype, coefficients)

    def update(self, y: Any, *terms: tuple[complex, Any], scale: complex = 1.0) -> Any:
        """See `overspill.linalg.space.Space.update`."""
        numbers = tuple(a for a, _ in terms)
        axes = tuple(range(y.ndim))
        over = () if terms and scale == 0 else (y,)  # or graphs would hold on to values that do not matter, for ever
        vectors = (*over, *(x for _, x in terms))
        pairs = [part for vector in vectors for part in (vector, axes)]
        return da.blockwise(
            _updated,
            axes,
            *pairs,
            numbers=numbers,
            scale=scale,
            name=f"update-{tokenize([x.name for x in vectors], numbers, scale, y.dtype)}",
            dtype=y.dtype,
            meta=y._meta,
            align_arrays=False,
        )

    def updates(self, *each: Update) -> tuple[Any, ...]:
        """See `overspill.linalg.space.Space.updates`."""
        new: dict[int, Any] = {}
        for one in each:
            terms = ((a, new.get(id(x), x)) for a, x in one.terms)
            new[id(one.y)] = self.update(new.get(id(one.y), one.y), *terms, scale=one.scale)
        return tuple(new[id(one.y)] for one in each)

    def keep(self, *vectors: Any) -> tuple[Any, ...]:
        """See `overspill.linalg.space.Space.keep`."""
        return tuple(persist(*vectors))


def _summed(function: Any, vectors: list[Any], shape: tuple[int, ...], *arguments: Any) -> NDArray[Any]:
    """The sum over chunks of what `function` makes of them: arrays of shape (1, *shape)."""
    dtype = np.result_type(*vectors)
    pairs = [part for x in vectors for part in (x, ("rows", *(f"columns {id(x)}" for _ in x.shape[1:])))]
    axes = tuple(f"axis {number}" for number in range(len(shape)))
    records = da.blockwise(
        function,
        ("rows", *axes),
        *pairs,
        arguments=arguments,
        new_axes=dict(zip(axes, shape, strict=True)),
        adjust_chunks={"rows": 1},
        concatenate=True,
        align_arrays=False,
        name=f"dots-{tokenize(function, [x.name for x in vectors], arguments)}",
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(shape)), dtype),
    )
    total: NDArray[Any] = records.sum(axis=0, split_every=FAN_IN).compute()
    return total


def _side_by_side(
    function: Any, blocks: tuple[Any, ...], columns: int, dtype: np.dtype[Any], *arguments: Any
) -> da.Array:
    """The block of `columns` columns, in one chunk, that `function` makes of the chunks of each chunk of rows."""
    pairs = [part for i, x in enumerate(blocks) for part in (x, ("rows", *(f"columns {i}" for _ in x.shape[1:])))]
    block: da.Array = da.blockwise(
        function,
        ("rows", "columns"),
        *pairs,
        arguments=arguments,
        new_axes={"columns": columns},
        concatenate=True,
        align_arrays=False,
        name=f"block-{tokenize(function, [x.name for x in blocks], arguments)}",
        dtype=dtype,
        meta=backend.meta(backend.residence_of(blocks[0]._meta), dtype, 2),
    )
    return block


def _joined(*chunks: Any, arguments: tuple[Any, ...]) -> Any:
    return space.join(*in_one_place(chunks))


def _combined(*chunks: Any, arguments: tuple[Any, ...]) -> Any:
    (coefficients,) = arguments
    return space.combine(*zip(in_one_place(chunks), coefficients, strict=True))


def _dots_of_chunks(*chunks: Any, arguments: tuple[Any, ...]) -> NDArray[Any]:
    (indices,) = arguments
    chunks = in_one_place(chunks)
    return backend.to_numpy(dots(*((chunks[i], chunks[j]) for i, j in indices)))[None]


def _gram_of_chunks(*chunks: Any, arguments: tuple[Any, ...]) -> NDArray[Any]:
    (rows,) = arguments
    chunks = in_one_place(chunks)
    return backend.to_numpy(space.gram(chunks[:rows], chunks[rows:]))[None]


def _updated(*chunks: Any, numbers: tuple[complex, ...], scale: complex) -> Any:
    chunks = in_one_place(chunks)
    terms = chunks[len(chunks) - len(numbers) :]
    xp: Any = backend.array_namespace(chunks[0])
    y = xp.empty_like(chunks[0]) if len(terms) == len(chunks) else chunks[0].copy()
    return update(y, *zip(numbers, terms, strict=True), scale=scale)
