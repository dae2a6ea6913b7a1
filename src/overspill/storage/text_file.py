"""Text files, plain or compressed with gzip: opened, told from one another, and their lines counted."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from overspill.errors import StorageError
from overspill.storage import node

COUNTED_NBYTES = 2**24
"""Text whose lines are counted at once."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file at `path` to read, decompressed if its name ends in ``.gz``.

    Raises
    ------
    StorageError
        If it cannot be read, then or while it is open, or is no whole gzip file.
    """
    try:
        with path.open("rb") as plain:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if is_compressed(path) else plain
    except StorageError:
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise StorageError(f"{path} is no whole gzip file ({node.brief(error)}): copy or compress it again") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or node.brief(error)}") from error


def version(file: IO[bytes]) -> tuple[int, int]:
    """What changes with the file: its size in bytes, and its time."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def line_number(path: Path, offset: int) -> int:
    """Number of the line that begins `offset` bytes into the text."""
    number = 1
    with opened(path) as file:
        while offset:
            text = file.read(min(COUNTED_NBYTES, offset))
            if not text:
                break
            number += text.count(b"\n")
            offset -= len(text)
    return number


def is_compressed(path: str | os.PathLike[str]) -> bool:
    """Whether the file is compressed by its name, and can be read from its beginning only."""
    return os.fspath(path).endswith(".gz")
