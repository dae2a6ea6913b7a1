"""Matrix Market files, plain or compressed with gzip, read as triplets in pieces: the text need not fit in memory."""

from collections.abc import Iterator
from pathlib import Path

from overspill.errors import StorageError
from overspill.storage import text_file
from overspill.storage.matrix_market_head import MatrixMarket
from overspill.storage.matrix_market_text import MalformedError, parse, parse_again
from overspill.storage.triplets import Triplets

PART_NBYTES = 2**26
"""Text that one task reads: about as long to parse as many tasks take to schedule."""

TEXT_NBYTES = 2**24
"""Text that is parsed at once."""

Part = tuple[int, int | None]
"""Bytes of the text, from and up to; None for its end. A line belongs to the part that it begins in."""


def parts(source: MatrixMarket) -> tuple[Part, ...]:
    """What to read in one task each; compressed text cannot be entered in the middle, and is one part."""
    if text_file.is_compressed(source.path):
        return ((source.body, None),)
    starts = range(source.body, max(source.version[0], source.body + 1), PART_NBYTES)
    return tuple((start, start + PART_NBYTES) for start in starts)


def entries(source: MatrixMarket, part: Part) -> Iterator[tuple[int, Triplets]]:
    """What `part` holds, a text at a time: how many entries of the file, and those of the matrix that they stand for.

    Raises
    ------
    StorageError
        If a line is malformed, naming it, or the file cannot be read or is another one by now.
    """
    for offset, text in _texts(source, part):
        try:
            yield parse(text, source.shape, source.field, source.symmetry)
        except MalformedError as error:
            line = text_file.line_number(Path(source.path), offset + error.offset)
            raise StorageError(f"{source.path}, line {line}: {error.reason}") from None


def entries_again(source: MatrixMarket, part: Part) -> Iterator[Triplets]:
    """The triplets of a part that `entries` has gone through before and found well-formed.

    Raises
    ------
    StorageError
        If the file cannot be read or is another one by now.
    """
    return (parse_again(text, source.shape, source.field, source.symmetry) for _, text in _texts(source, part))


def check_count(source: MatrixMarket, count: int) -> None:
    """Refuse a file of `count` entries if it announces another number of them.

    Raises
    ------
    StorageError
        If it does.
    """
    if count != source.entries:
        cause = "the file is cut short, or that line is wrong" if count < source.entries else "correct that line"
        raise StorageError(
            f"{source.path}, line {source.size_line} announces {source.entries} entries, but {count} follow: {cause}"
        )


def _texts(source: MatrixMarket, part: Part) -> Iterator[tuple[int, bytes]]:
    """Whole lines of `part`, some at a time, each text with where it begins."""
    start, stop = part
    with text_file.opened(Path(source.path)) as opened:
        if text_file.version(opened) != source.version:
            raise StorageError(f"{source.path} was changed or replaced since it was opened: open it again")
        opened.seek(start)
        if start > source.body:
            # A line that begins right at the start belongs here: so look whether the byte before it ends one.
            opened.seek(start - 1)
            opened.readline()
        offset = opened.tell()
        while stop is None or offset < stop:
            text = opened.read(TEXT_NBYTES if stop is None else min(TEXT_NBYTES, stop - offset))
            if not text:
                return
            if not text.endswith(b"\n"):
                text += opened.readline()
            yield offset, text
            offset += len(text)
