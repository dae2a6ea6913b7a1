"""Linear combinations of vectors, written over one of them: BLAS on the host, one kernel a term on a GPU."""

from typing import Any

import numpy as np
from scipy.linalg import get_blas_funcs

from overspill import backend

BLAS_LIMIT = 2**31 - 1
"""Elements that SciPy's BLAS can count."""


def update(y: Any, *terms: tuple[complex, Any], scale: complex = 1.0) -> Any:
    """``scale * y + sum(a * x)`` over the terms ``(a, x)``, written over `y`.

    Parameters
    ----------
    y
        NumPy or CuPy array. With ``scale=0`` its values do not matter.
    terms
        Numbers, and arrays of the shape and dtype of `y`, none of which overlaps it.
    scale
        What `y` is multiplied with.

    Returns
    -------
    numpy.ndarray or cupy.ndarray
        `y` itself.

    Examples
    --------
    >>> import numpy as np
    >>> update(np.ones(3), (2.0, np.arange(3.0)), scale=-1.0)
    array([-1.,  1.,  3.])
    """
    if backend.is_device_array(y):
        from overspill.kernels import update_cuda

        return update_cuda.update(y, *terms, scale=scale)
    if scale == 0:
        y[...] = 0
    elif scale != 1:
        y *= scale
    for a, x in terms:
        if _fits_blas(x) and _fits_blas(y) and x.dtype == y.dtype:
            axpy = get_blas_funcs("axpy", (y,))
            axpy(x.reshape(-1), y.reshape(-1), a=a)
        else:
            y += a * x
    return y


def _fits_blas(x: np.ndarray[Any, Any]) -> bool:
    return x.flags.c_contiguous and x.dtype.char in "fdFD" and 0 < x.size <= BLAS_LIMIT
