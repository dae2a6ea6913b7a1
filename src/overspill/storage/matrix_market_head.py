"""The head of a Matrix Market file: what the matrix is, how many entries follow and where they begin.

Boisvert, Pozo and Remington, The Matrix Market Exchange Formats: Initial Design, NISTIR 5935 (1996).
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overspill.errors import StorageError
from overspill.storage import node, text_file
from overspill.storage.matrix_market_text import FIELDS

SYMMETRIES = ("general", "symmetric", "skew-symmetric", "hermitian")


@dataclass(frozen=True, slots=True)
class MatrixMarket:
    """What the head of a Matrix Market file says of the matrix, and where its entries begin.

    Attributes
    ----------
    path
        Of the file, absolute.
    shape
        Rows and columns.
    entries
        How many it announces; of a symmetric matrix only those on and below the diagonal.
    field
        ``"real"``, ``"integer"``, ``"complex"`` or ``"pattern"``.
    symmetry
        One of `SYMMETRIES`.
    size_line
        Number of the line with these figures.
    body
        Bytes before the line after it, uncompressed.
    version
        Size in bytes and time of the file when it was opened: another one is not read on.
    """

    path: str
    shape: tuple[int, int]
    entries: int
    field: str
    symmetry: str
    size_line: int
    body: int
    version: tuple[int, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values that are read: complex128 or float64."""
        return np.dtype(np.complex128 if self.field == "complex" else np.float64)


def open_matrix_market(path: str | os.PathLike[str]) -> MatrixMarket:
    """What the Matrix Market file at `path` says of itself; its entries are not read.

    Raises
    ------
    StorageError
        If it cannot be read, is no Matrix Market file of a sparse matrix, or its head is malformed.
    UsageError
        If `path` is no path.
    """
    location = node.local_path(path)
    with text_file.opened(location) as opened:
        version = text_file.version(opened)
        banner = opened.readline(1024)
        if not banner.lower().startswith(b"%%matrixmarket"):
            raise StorageError(f"{location} is no Matrix Market file: its first line is not %%MatrixMarket ...")
        field, symmetry = _qualifiers(location, banner)
        number, line = 1, b"%"
        while line.startswith(b"%") or line.isspace():
            number, line = number + 1, opened.readline()
        *shape, entries = _sizes(location, number, line)
        body = opened.tell()
    if symmetry != "general" and shape[0] != shape[1]:
        raise StorageError(
            f"{location}, line {number}: a {symmetry} matrix is square, not {shape[0]} × {shape[1]}: correct the sizes"
        )
    return MatrixMarket(str(location), (shape[0], shape[1]), entries, field, symmetry, number, body, version)


def _qualifiers(path: Path, banner: bytes) -> tuple[str, str]:
    words = banner.decode("latin-1").lower().split()[1:]
    if len(words) != 4 or words[0] != "matrix":
        raise StorageError(
            f"{path}, line 1: '{' '.join(words)}' is not 'matrix', a format, a field and a symmetry: write, say, "
            "%%MatrixMarket matrix coordinate real general"
        )
    _, layout, field, symmetry = words
    field = {"double": "real", "unsigned-integer": "integer"}.get(field, field)
    if layout == "array":
        raise StorageError(
            f"{path} holds a dense matrix (array format): read it with scipy.io.mmread, and make it sparse with "
            "CSRMatrix.from_scipy(scipy.sparse.csr_array(...))"
        )
    for word, name, known in (
        (layout, "format", ("coordinate",)),
        (field, "field", sorted(FIELDS)),
        (symmetry, "symmetry", SYMMETRIES),
    ):
        if word not in known:
            raise StorageError(f"{path}, line 1: {name} '{word}' is none of {', '.join(known)}: correct it")
    if (symmetry == "hermitian" and field != "complex") or (symmetry == "skew-symmetric" and field == "pattern"):
        raise StorageError(f"{path}, line 1: a {field} matrix cannot be {symmetry}: correct one of the words")
    return field, symmetry


def _sizes(path: Path, number: int, line: bytes) -> list[int]:
    if not line:
        raise StorageError(f"{path} ends at line {number} without a line of sizes: it is cut short")
    if not re.fullmatch(rb"\s*\d+\s+\d+\s+\d+\s*", line):
        shown = line.strip()[:60].decode("latin-1")
        raise StorageError(
            f"{path}, line {number}: '{shown}' is not three sizes: write the numbers of rows, columns and entries"
        )
    sizes = [int(word) for word in line.split()]
    if max(sizes) > np.iinfo(np.int64).max:
        raise StorageError(f"{path}, line {number}: the size {max(sizes)} is beyond 64 bits: correct it")
    return sizes
