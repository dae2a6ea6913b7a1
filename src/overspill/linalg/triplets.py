"""Singular triplets: how far two blocks of vectors are from being singular vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill.linalg.space import Operator, Space


def residual_norms(space: Space, A: Operator, adjoint: Operator, U: Any, V: Any, values: NDArray[Any]) -> NDArray[Any]:
    """``sqrt(|A v - value u|² + |A^H u - value v|²)`` of each column, computed anew."""
    one, scale = np.eye(len(values)), -np.diag(values)
    squares = np.zeros(len(values))
    for product, block in ((A(V), U), (adjoint(U), V)):
        (R,) = space.keep(space.combine((product, one), (block, scale)))
        squares += np.diag(space.gram(R, R)).real
    norms: NDArray[Any] = np.sqrt(squares)
    return norms
