"""What a solver's mathematics may do with vectors, so that it is written once for every place where they lie.

Vectors are things with ``+ - *``, and blocks of shape (n, k) have ``@`` with a small NumPy array and slices of columns:
NumPy and CuPy arrays, Dask arrays, or a worker's rows of a vector. Operators are callables: ``A(x)``.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from overspill import backend
from overspill.kernels.dots import dots
from overspill.kernels.update import Update, update, updates

Core: TypeAlias = Callable[..., tuple[tuple[Any, ...], Any]]
"""A solver's mathematics: ``core(space, A, M, *, progress, **vectors, **options) -> (vectors, rest)``.

It knows nothing of Dask, GPUs or workers. `A` and `M` are operators; `vectors` and the vectors of the result lie as the
space's do and are new or the solver's own to overwrite, but for those that it names as read only; `rest` is the same on
every worker and can be pickled. A core is a function at the top of a module, so that workers can import it.
"""


class Operator(Protocol):
    """A linear map of vectors; the result is new or, for the identity, its argument."""

    def __call__(self, x: Any, /) -> Any:
        """The operator applied to `x`."""


class Progress(Protocol):
    """Told how far a solver is, by the solver, once an iteration."""

    def __call__(self, iteration: int, residual: float, **restart: Any) -> None:
        """After `iteration` iterations the residual's norm is `residual`.

        `restart` are those of the core's vectors, by name, which are further now than when it began: called with these
        instead, it would go on from here. There may be none. They are not to be changed, and may be overwritten later.
        """


class Space(Protocol):
    """Where vectors lie. Methods return the same numbers on every worker."""

    def dots(self, *pairs: tuple[Any, Any]) -> tuple[Any, ...]:
        """``x^H y`` of each pair ``(x, y)`` of vectors, all in one reduction: floats, or complex if a vector is."""

    def gram(self, X: Any, Y: Any) -> NDArray[Any]:
        """``X^H Y`` of blocks of shapes (n, k) and (n, l): a NumPy array of shape (k, l), all in one reduction.

        A tuple of blocks stands for all of them side by side.
        """

    def join(self, *blocks: Any) -> Any:
        """Vectors and blocks side by side, as one new block."""

    def combine(self, *terms: tuple[Any, NDArray[Any]]) -> Any:
        """``sum(X @ C)`` over `terms` ``(X, C)``, blocks (n, k) and NumPy arrays (k, l): a new block of their type."""

    def update(self, y: Any, *terms: tuple[complex, Any], scale: complex = 1.0) -> Any:
        """``scale * y + sum(a * x)`` over `terms` ``(a, x)``: in memory over `y`, which is not to be used afterwards.

        No ``x`` may share memory with `y`; with ``scale=0`` the values of `y` do not matter.
        """

    def updates(self, *each: Update) -> tuple[Any, ...]:
        """Several updates, one after the other: where a later one reads what an earlier one writes, the new values.

        In memory they take one pass over all vectors, which are to be of one shape.
        """

    def keep(self, *vectors: Any) -> tuple[Any, ...]:
        """The same vectors, computed now and held; where they are in memory they are returned as they are."""


class InMemory:
    """The space of NumPy or CuPy arrays of this process."""

    def dots(self, *pairs: tuple[Any, Any]) -> tuple[Any, ...]:
        """See `Space.dots`."""
        return tuple(dots(*pairs).tolist())

    def gram(self, X: Any, Y: Any) -> NDArray[Any]:
        """See `Space.gram`."""
        return backend.to_numpy(gram(X, Y))

    def join(self, *blocks: Any) -> Any:
        """See `Space.join`."""
        return join(*blocks)

    def combine(self, *terms: tuple[Any, NDArray[Any]]) -> Any:
        """See `Space.combine`."""
        return combine(*terms)

    def update(self, y: Any, *terms: tuple[complex, Any], scale: complex = 1.0) -> Any:
        """See `Space.update`."""
        return update(y, *terms, scale=scale)

    def updates(self, *each: Update) -> tuple[Any, ...]:
        """See `Space.updates`."""
        return updates(*each)

    def keep(self, *vectors: Any) -> tuple[Any, ...]:
        """See `Space.keep`."""
        return vectors


def gram(X: Any, Y: Any) -> Any:
    """``X^H Y`` of blocks in memory, or of tuples of blocks, where they lie, so that it can be summed over workers."""
    rows, columns = (blocks if isinstance(blocks, tuple) else (blocks,) for blocks in (X, Y))
    xp: Any = backend.array_namespace(rows[0])
    return xp.concatenate([xp.concatenate([x.conj().T @ y for y in columns], axis=1) for x in rows])


def join(*blocks: Any) -> Any:
    """Vectors and blocks in memory side by side, as one new block."""
    xp: Any = backend.array_namespace(blocks[0])
    return xp.concatenate([x[:, None] if x.ndim == 1 else x for x in blocks], axis=1)


def combine(*terms: tuple[Any, NDArray[Any]]) -> Any:
    """``sum(X @ C)`` over `terms` ``(X, C)``, blocks in memory and NumPy arrays, in the blocks' type."""
    products = (_product(x, c.astype(x.dtype, copy=False)) for x, c in terms)
    return functools.reduce(operator.iadd, products)


def _product(x: Any, c: NDArray[Any]) -> Any:
    # NumPy has no BLAS for a column by a number, and takes ten times as long.
    return x * c[0, 0] if c.shape == (1, 1) else x @ backend.array_namespace(x).asarray(c)
