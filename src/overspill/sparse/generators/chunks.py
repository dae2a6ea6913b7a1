"""How rows are divided: evenly into blocks, and into chunks of chance that do not depend on the blocks."""

from collections.abc import Iterator
from math import ceil, log2

import numpy as np


def chunk_rows(entries_per_row: float) -> int:
    """Rows of a chunk: a power of two with about a quarter million entries; it depends on nothing but the matrix.

    Examples
    --------
    >>> chunk_rows(16)
    16384
    """
    return 1 << max(0, 18 - ceil(log2(max(1.0, entries_per_row))))


def chunks_of(start: int, stop: int, rows: int, size: int) -> Iterator[tuple[int, range, slice]]:
    """The chunks of `size` rows in which the rows from `start` to `stop` lie, of a matrix that has `rows`.

    Yields
    ------
    int
        The chunk's number.
    range
        All its rows.
    slice
        Which of them are wanted, counted from its first.

    Examples
    --------
    >>> list(chunks_of(3, 9, 10, 4))
    [(0, range(0, 4), slice(3, 4, None)), (1, range(4, 8), slice(0, 4, None)), (2, range(8, 10), slice(0, 1, None))]
    """
    for number in range(start // size, -(-stop // size)):
        here = range(number * size, min((number + 1) * size, rows))
        yield number, here, slice(max(start, here.start) - here.start, min(stop, here.stop) - here.start)


def generator(seed: int, *key: int) -> np.random.Generator:
    """A counter-based generator for what `key` names: Philox, with a key that NumPy hashes from `seed` and `key`."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def even_rows(rows: int, parts: int) -> list[range]:
    """`rows` rows in `parts` ranges, each as long as the others or one longer; fewer ranges where there are fewer rows.

    Examples
    --------
    >>> even_rows(5, 2)
    [range(0, 2), range(2, 5)]
    """
    number = max(1, min(parts, rows))
    return [range(rows * part // number, rows * (part + 1) // number) for part in range(number)]
