"""Orthonormal bases: vectors and blocks made orthogonal to what is there already, to the last digit.

Classical Gram-Schmidt, done again until it changes little, which is as good as any (Giraud, Langou, Rozložník & van den
Eshof 2005) and takes one reduction each time; within a block by the eigenvectors of its Gram matrix (Stathopoulos & Wu
2002). What depends on the rest is dropped (Duersch, Shao, Yang & Gu 2018).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.linalg.space import Space

MOST_PASSES = 5

LEAST_SHARE = 0.5
"""Of a vector's square: what a pass has to leave, or another follows, for what it leaves is not known so well."""


class NotFiniteError(Exception):
    """NaN or infinity among the inner products of vectors."""


def epsilon(x: Any) -> float:
    """The relative spacing of `x`'s floating point numbers."""
    return float(np.finfo(x.dtype).eps)


def normalised(space: Space, w: Any) -> tuple[Any, float]:
    """The vector `w` as a block of one column and norm one, and its norm."""
    norm = math.sqrt(finite(space.gram(w[:, None], w[:, None]))[0, 0].real)
    return space.combine((w[:, None], np.array([[1 / norm if norm else 0.0]]))), norm


def extended(space: Space, V: tuple[Any, ...], w: Any) -> tuple[Any, NDArray[Any], float]:
    """The part of `w`, a vector or a block of one column, that is orthogonal to the orthonormal blocks `V`.

    Returns
    -------
    block of shape (n, 1), array of shape (k,), float
        The part, of norm one; the coefficients in `w` of the k columns of `V`; the part's norm before. A norm of 0 says
        that `w` lies in the span of `V`, and the block is to be ignored.
    """
    if w.ndim == 1:
        w = w[:, None]
    k = width(V)
    coefficients = np.zeros(k, np.result_type(w.dtype, np.float32))
    whole = 0.0
    for _ in range(MOST_PASSES):
        (w,) = space.keep(w)
        found = finite(space.gram((*V, w), w))[:, 0]
        within, square = found[:k], max(float(found[k].real), 0.0)
        coefficients = coefficients + within
        left = square - float(np.linalg.norm(within)) ** 2
        if square == 0 or (whole > 0 and left <= (10 * epsilon(w)) ** 2 * whole):
            break
        if left >= LEAST_SHARE * square:
            norm = math.sqrt(left)
            (v,) = space.keep(combined(space, (*V, w), np.append(-within, 1)[:, None] / norm))
            return v, coefficients, norm
        whole = whole or square
        w = combined(space, (*V, w), np.append(-within, 1)[:, None])
    return w, coefficients, 0.0


def appended(space: Space, V: tuple[Any, ...], v: Any) -> tuple[Any, ...]:
    """The blocks `V` and the block `v`, joined with those before that are not wider: few blocks, and few copies."""
    last: tuple[Any, ...] = (v,)
    while V and V[-1].shape[1] <= width(last):
        V, last = V[:-1], (V[-1], *last)
    return (*V, v) if len(last) == 1 else (*V, *space.keep(space.join(*last)))


def width(V: tuple[Any, ...]) -> int:
    """Columns of blocks side by side."""
    return sum(block.shape[1] for block in V)


def orthonormal(space: Space, W: Any, *against: Any) -> Any:
    """An orthonormal block that spans the part of `W` orthogonal to orthonormal blocks `against`.

    It has fewer columns than `W`, perhaps none, where these depend on each other or on those blocks.
    """
    k = width(against)
    for number in range(MOST_PASSES):
        (W,) = space.keep(W)
        found = finite(space.gram((*against, W), W))
        within, inner = found[:k], found[k:]
        off = max(np.abs(within).max(initial=0), np.abs(inner - np.eye(len(inner))).max(initial=0))
        if off <= 10 * len(found) * epsilon(W):
            break
        # What a projection leaves is not known before it is made, for differences cancel: so the first one only scales.
        C = _whitening(inner - within.conj().T @ within, epsilon(W)) if number else _scaling(inner)
        W = combined(space, (W, *against), np.concatenate([C, -within @ C]))
    return W


def combined(space: Space, blocks: tuple[Any, ...], C: NDArray[Any]) -> Any:
    """The linear combinations of `blocks`, side by side, that the columns of `C` tell."""
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    return space.combine(*zip(blocks, np.split(C, ends), strict=True))


def another(space: Space, spare: Any) -> Any:
    """A vector as random as `spare`, whose numbers lie in (-1, 1): the chaotic map ``x -> 4x³ - 3x`` of each.

    It needs nothing of the place where vectors lie but products. Shrunk a little, lest rounding lead out of (-1, 1).
    """
    (further,) = space.keep((spare * spare * spare * 4 - spare * 3) * (1 - 1e-5))
    return further


def elsewhere(space: Space, V: tuple[Any, ...], spare: Any) -> tuple[Any, Any]:
    """A random block of one column, orthonormal to the orthonormal blocks `V`, and the random vector after `spare`."""
    spare = another(space, spare)
    v, _, _ = extended(space, V, spare)
    return v, spare


def symmetric(G: NDArray[Any]) -> NDArray[Any]:
    """The Hermitian part of a small matrix that rounding keeps from being so."""
    half: NDArray[Any] = (G + G.conj().T) / 2
    return half


def finite(G: NDArray[Any]) -> NDArray[Any]:
    """A small matrix, if its entries are finite.

    Raises
    ------
    NotFiniteError
        If not.
    """
    if not np.isfinite(G).all():
        raise NotFiniteError
    return G


def _scaling(G: NDArray[Any]) -> NDArray[Any]:
    """C such that the columns of ``W C`` have norm one, or are 0 as before, where G is the Gram matrix of W."""
    square = np.diag(G).real
    C: NDArray[Any] = np.diag(1 / np.sqrt(np.where(square > 0, square, 1.0)))
    return C


def _whitening(G: NDArray[Any], eps: float) -> NDArray[Any]:
    """C such that the columns of ``W C`` are orthonormal, where G is the Gram matrix of W, of norms at most about one.

    With fewer columns than G where these depend on each other, or are but what rounding left of columns of norm one.
    """
    chosen = np.flatnonzero(np.diag(G).real > (10 * eps) ** 2)
    scaling = np.eye(len(G))[:, chosen] / np.sqrt(np.diag(G).real[chosen])
    values, vectors = np.linalg.eigh(symmetric(scaling.T @ G @ scaling))
    kept = values > 10 * len(G) * eps
    C: NDArray[Any] = scaling @ vectors[:, kept] / np.sqrt(values[kept])
    return C
