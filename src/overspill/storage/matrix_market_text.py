"""Lines of a Matrix Market file as triplets: numbers parsed by SciPy, and everything that its parser lets pass refused.

SciPy's parser takes what a number begins with for the number, ``1.5D3`` for 1.5, and leaves the rest of a line unread:
so lines are held against a regular expression first, and once only, since that takes longer than parsing them.
"""

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from overspill.storage.triplets import Triplets

LARGEST_INTEGER = 2**53
"""Up to it float64 holds every integer."""

_REAL = rb"(?:-?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][-+]?[0-9]++)?|(?i:-?(?:nan|inf(?:inity)?)))"
_VALUES = {"real": [_REAL], "integer": [rb"-?[0-9]++"], "complex": [_REAL, _REAL], "pattern": []}
_LINES = {
    field: re.compile(rb"(?:[ \t]*+" + rb"[ \t]++".join([rb"[0-9]++", rb"[0-9]++", *values]) + rb"[ \t]*+\r?\n)*+")
    for field, values in _VALUES.items()
}

TOO_LARGE = "has an integer beyond 2**53, which float64 rounds: declare the file real to have it rounded"

FIELDS = frozenset(_VALUES)
"""What the values of a file may be."""


class MalformedError(Exception):
    """A line that is not as the format has it: where it begins in the text, and what is wrong with it."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


def parse(text: bytes, shape: tuple[int, int], field: str, symmetry: str) -> tuple[int, Triplets]:
    r"""How many lines of `text` are entries, and what they stand for: those of a symmetric matrix for two each.

    Parameters
    ----------
    text
        Whole lines.
    shape
        Of the matrix.
    field, symmetry
        As the file's first line has them.

    Returns
    -------
    int
        Entries that the text holds.
    Triplets
        Entries of the matrix, with float64 or complex128 values; ones where the field is ``pattern``.

    Raises
    ------
    MalformedError
        If a line is no entry, its indices lie outside the matrix or on the wrong side of the diagonal, or its value is
        an integer that float64 does not hold.

    Examples
    --------
    >>> parse(b"1 1 2.5\n3 1 -1\n", (3, 3), "real", "symmetric")[1].columns
    array([0, 0, 2], dtype=int32)
    """
    whole = _only_entries(_ended(text), field)
    try:
        entries = _read(whole, shape, field)
    except (ValueError, OverflowError) as error:
        raise _out_of_range(text, shape, field) or MalformedError(0, f"SciPy cannot read it ({error})") from None
    _check(entries, text, field, symmetry)
    return len(entries.rows), _mirrored(entries, symmetry)


def parse_again(text: bytes, shape: tuple[int, int], field: str, symmetry: str) -> Triplets:
    """The triplets that `parse` made of the same arguments, without holding the text against the format again."""
    try:
        entries = _read(_ended(text), shape, field)
    except ValueError:  # blank lines, which SciPy skips and then finds lines missing
        return parse(text, shape, field, symmetry)[1]
    return _mirrored(entries, symmetry)


def _ended(text: bytes) -> bytes:
    return text if text.endswith(b"\n") or not text else text + b"\n"


def _read(lines: bytes, shape: tuple[int, int], field: str) -> Triplets:
    """What SciPy makes of lines that are entries all of them."""
    count = lines.count(b"\n")
    header = f"%%MatrixMarket matrix coordinate {field} general\n{shape[0]} {shape[1]} {count}\n"
    read: Any = scipy.io.mmread(io.BytesIO(header.encode() + lines), spmatrix=False)
    rows, columns = read.coords
    return Triplets(rows, columns, read.data)


def _only_entries(text: bytes, field: str) -> bytes:
    """`text` without blank lines, every line of it an entry."""
    lines = _LINES[field]
    if lines.fullmatch(text):
        return text
    expected = 2 + len(_VALUES[field])
    for offset, line in _entries(text):
        if lines.fullmatch(line):
            continue
        parts = line.split()
        shown = _shown(line)
        if line.lstrip().startswith(b"%"):
            raise MalformedError(offset, f"'{shown}' is a comment among the entries: move it above the size line")
        if len(parts) != expected:
            raise MalformedError(offset, f"'{shown}' has {len(parts)} numbers, where {field} entries have {expected}")
        raise MalformedError(offset, f"'{shown}' is no {field} entry: write indices as 12, values as -1.5e-3")
    return b"".join(line for _, line in _entries(text))


def _check(entries: Triplets, text: bytes, field: str, symmetry: str) -> None:
    """Refuse entries that their field or symmetry does not allow."""
    if field == "integer":
        large = (entries.values > LARGEST_INTEGER) | (entries.values < -LARGEST_INTEGER)
        _refuse(large, text, TOO_LARGE)
    if symmetry == "general":
        return
    _refuse(
        entries.rows < entries.columns,
        text,
        f"lies above the diagonal, where a {symmetry} file has no entries: swap its indices, or declare the file "
        "general",
    )
    diagonal = entries.rows == entries.columns
    if symmetry == "skew-symmetric":
        _refuse(diagonal, text, "lies on the diagonal, which is zero in a skew-symmetric matrix: leave it out")
    if symmetry == "hermitian":
        wrong = diagonal & (entries.values.imag != 0)
        _refuse(wrong, text, "lies on the diagonal of a hermitian matrix and is not real: correct it")


def _refuse(wrong: NDArray[np.bool_], text: bytes, reason: str) -> None:
    if wrong.any():
        number = int(wrong.argmax())
        offset, line = next(entry for position, entry in enumerate(_entries(text)) if position == number)
        raise MalformedError(offset, f"'{_shown(line)}' {reason}")


def _out_of_range(text: bytes, shape: tuple[int, int], field: str) -> MalformedError | None:
    """What is wrong with the first entry whose indices lie outside the matrix, or whose integer is too large."""
    for offset, line in _entries(text):
        words = line.split()
        for index, size, name in zip(words, shape, ("row", "column"), strict=False):
            if not 1 <= int(index) <= size:
                return MalformedError(offset, f"{name} {int(index)} is not from 1 to {size}: correct it")
        if field == "integer" and abs(int(words[2])) > LARGEST_INTEGER:
            return MalformedError(offset, f"'{_shown(line)}' {TOO_LARGE}")
    return None


def _mirrored(entries: Triplets, symmetry: str) -> Triplets:
    """`entries` and those above the diagonal that follow from them, integers as float64."""
    if entries.values.dtype.kind == "i":
        entries = entries._replace(values=entries.values.astype(np.float64))
    if symmetry == "general":
        return entries
    below = entries.rows != entries.columns
    values = entries.values[below]
    if symmetry == "skew-symmetric":
        values = -values
    elif symmetry == "hermitian":
        values = values.conj()
    return Triplets(
        np.concatenate([entries.rows, entries.columns[below]]),
        np.concatenate([entries.columns, entries.rows[below]]),
        np.concatenate([entries.values, values]),
    )


def _entries(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, each with where it begins; the last one ends like the others."""
    offset = 0
    for line in io.BytesIO(text):
        if line.strip():
            yield offset, line if line.endswith(b"\n") else line + b"\n"
        offset += len(line)


def _shown(line: bytes) -> str:
    return line.strip()[:60].decode("latin-1")
