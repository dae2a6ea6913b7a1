"""Linear combinations written over a vector, several in one pass: BLAS on the host, one kernel on a GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import get_blas_funcs

from overspill import backend

BLAS_LIMIT = 2**31 - 1
"""Elements that SciPy's BLAS can count."""

STEP = 2**13
"""Elements of each vector worked on at once on the host: what updates share stays cached, and BLAS in one thread."""


@dataclass(frozen=True, slots=True)
class Update:
    """That `y` shall become ``scale * y + sum(a * x)`` over the terms ``(a, x)``.

    Attributes
    ----------
    y
        NumPy or CuPy array. With ``scale=0`` its values do not matter.
    terms
        Numbers, and arrays of the shape and dtype of `y`, none of which overlaps it.
    scale
        What `y` is multiplied with.
    """

    y: Any
    terms: Sequence[tuple[complex, Any]] = ()
    scale: complex = 1.0


def update(y: Any, *terms: tuple[complex, Any], scale: complex = 1.0) -> Any:
    """``scale * y + sum(a * x)`` over the terms ``(a, x)``, written over `y` and returned; see `Update`.

    Examples
    --------
    >>> import numpy as np
    >>> update(np.ones(3), (2.0, np.arange(3.0)), scale=-1.0)
    array([-1.,  1.,  3.])
    """
    return updates(Update(y, terms, scale))[0]


def updates(*each: Update) -> tuple[Any, ...]:
    """Do several updates of vectors of one shape and dtype, one after the other: later ones see what earlier ones did.

    Returns
    -------
    tuple
        The vectors that were written over.

    Examples
    --------
    >>> import numpy as np
    >>> p, x = np.ones(2), np.zeros(2)
    >>> updates(Update(p, scale=3.0), Update(x, [(0.5, p)]))
    (array([3., 3.]), array([1.5, 1.5]))
    """
    vectors = [x for one in each for x in (one.y, *(term for _, term in one.terms))]
    if backend.is_device_array(vectors[0]):
        from overspill.kernels import update_cuda

        update_cuda.updates(*each)
    elif all(_fits_blas(x) and x.dtype == vectors[0].dtype for x in vectors) and _writeable(each):
        _by_blas(each)
    else:
        for one in each:
            _by_numpy(one)
    return tuple(one.y for one in each)


def _by_blas(each: Sequence[Update]) -> None:
    y = each[0].y
    axpy, scal = get_blas_funcs(("axpy", "scal"), (y,))
    flat = [(one.y.reshape(-1), one.scale, [(a, x.reshape(-1)) for a, x in one.terms]) for one in each]
    together = len(each) > 1 or len(each[0].terms) > 1
    step = STEP if together else max(y.size, 1)
    for start in range(0, y.size, step):
        part = slice(start, start + step)
        for target, scale, terms in flat:
            if scale == 0:
                target[part] = 0
            elif scale != 1:
                scal(scale, target[part])
            for a, x in terms:
                axpy(x[part], target[part], a=a)


def _by_numpy(one: Update) -> None:
    y = one.y
    if one.scale == 0:
        y[...] = 0
    elif one.scale != 1:
        y *= one.scale
    for a, x in one.terms:
        y += a * x


def _writeable(each: Sequence[Update]) -> bool:
    # SciPy's BLAS does not ask; NumPy refuses.
    return all(one.y.flags.writeable for one in each)


def _fits_blas(x: np.ndarray[Any, Any]) -> bool:
    # Of numbers in another order of bytes, or between others, SciPy gives BLAS a copy, and what that writes is lost.
    native = x.dtype.isnative and x.flags.aligned and x.dtype.char in "fdFD"
    return native and x.flags.c_contiguous and 0 < x.size <= BLAS_LIMIT
