"""The text of our CUDA kernels, and every instantiation of them that may be launched."""

import itertools
from collections.abc import Iterable
from functools import cache
from importlib import resources

from overspill.kernels.csr_choice import PANEL_WIDTHS, WIDTHS

CTYPES = {
    "float32": "float",
    "float64": "double",
    "complex64": "Complex<float>",
    "complex128": "Complex<double>",
    "int32": "int",
    "int64": "long long",
}
"""What NumPy's types are called in the kernels."""

ITEMSIZE = {"float32": 4, "float64": 8, "complex64": 8, "complex128": 16}

RESULTS = {
    "float32": ("float32", "float64", "complex64", "complex128"),
    "float64": ("float64", "complex128"),
    "complex64": ("complex64", "complex128"),
    "complex128": ("complex128",),
}
"""Types of x and y, by the type of the matrix."""

INDICES = ("int32", "int64")

ALL, LISTED, FIRST_PANEL, FURTHER_PANEL = range(4)
"""What rows are to the row kernel, and where their sums go: see ``csr_vector.cu``."""

MOST_PAIRS = 4
"""Pairs of vectors whose inner products one launch computes."""

COLUMN_LANES = 16
"""Lanes of a row where there are several columns of x: they take 16 entries at once, or 64."""


def rows_at_once(dtype: str) -> int:
    """Rows of which a lane takes entries at the same time."""
    return min(4, 32 // ITEMSIZE[dtype])  # more take registers that more warps make better use of


def across(dtype: str, *, by_rows: bool) -> tuple[int, int]:
    """Lanes that share an entry, and neighbouring columns that each of them owns."""
    return (4, 16 // ITEMSIZE[dtype]) if by_rows else (1, min(4, 32 // ITEMSIZE[dtype]))


def expression(name: str, *parameters: str | int | bool) -> str:
    """A kernel as C++ calls it: types as NumPy names them, or numbers.

    Examples
    --------
    >>> expression("csr_vector", "float32", "complex64", "int32", 8, 4)
    'csr_vector<float, Complex<float>, int, 8, 4>'
    """
    words = (CTYPES.get(p, p) if isinstance(p, str) else str(p).lower() for p in parameters)
    return f"{name}<{', '.join(words)}>"


@cache
def text(file: str) -> str:
    """The source of ``FILE.cu``, with what it includes."""
    folder = resources.files("overspill.kernels")
    header = (folder / "numbers.cuh").read_text(encoding="utf-8")
    return (folder / f"{file}.cu").read_text(encoding="utf-8").replace('#include "numbers.cuh"', header)


@cache
def instantiations() -> dict[str, frozenset[str]]:
    """By file, all kernels that are ever launched."""
    pairs = [(stored, result) for stored, results in RESULTS.items() for result in results]
    every = list(itertools.product(pairs, INDICES))
    return {
        "csr_profile": _expressions("csr_profile", ([index] for index in INDICES)),
        "csr_vector": _expressions(
            "csr_vector",
            (
                [*pair, index, lanes, rows_at_once(pair[1]), kind]
                for (pair, index) in every
                for kind in (ALL, LISTED, FIRST_PANEL, FURTHER_PANEL)
                for lanes in (PANEL_WIDTHS if kind >= FIRST_PANEL else WIDTHS)
            ),
        ),
        "csr_long": _expressions("csr_long", ([*pair, index] for pair, index in every))
        | _expressions("csr_long_sums", itertools.product(RESULTS, INDICES)),
        "csr_panels": _expressions("csr_panels", ([index] for index in INDICES)),
        "csr_merge": _expressions("csr_merge_tiles", ([index] for index in INDICES))
        | _expressions("csr_merge", ([*pair, index] for pair, index in every))
        | _expressions("csr_merge_carries", itertools.product(RESULTS, INDICES)),
        "csr_columns": _expressions(
            "csr_columns",
            (
                [*pair, index, COLUMN_LANES, *across(pair[1], by_rows=by_rows), wide]
                for (pair, index) in every
                for by_rows, wide in ((True, True), (True, False), (False, False))
            ),
        ),
        "csr_transposed": _expressions("csr_transposed", ([*pair, index] for pair, index in every))
        | _expressions("csr_exponent", (["float32"], ["float64"]))
        | _expressions("csr_transposed_finish", (["float32"], ["float64"])),
        "dots": _expressions(
            "dots",
            (
                [dtype, "complex128" if dtype.startswith("complex") else "float64", pairs]
                for dtype in RESULTS
                for pairs in range(1, MOST_PAIRS + 1)
            ),
        ),
    }


def _expressions(name: str, parameters: Iterable[Iterable[str | int | bool]]) -> frozenset[str]:
    return frozenset(expression(name, *each) for each in parameters)
