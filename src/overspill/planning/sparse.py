"""Products of sparse matrices with vectors: what the task of each row block reads, and what all of them take."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from overspill.planning.elapsed import BOUNDS, elapsed
from overspill.planning.grid import Piece
from overspill.planning.one_pass import Pass
from overspill.planning.operations import weigh
from overspill.planning.resources import Resources
from overspill.units import format_nbytes, format_rate, format_seconds


@dataclass(frozen=True, slots=True)
class BlockProduct:
    """What one task multiplies: a row block, or its transpose, and the part of x that it meets.

    Attributes
    ----------
    pieces
        The parts of the chunks of x that make up what is read of it.
    reads, writes
        Entries of x that it reads, and of the result, or of a partial one, that it writes; of each column of x.
    trailing
        Columns of x, where it has any: its shape without the first axis.
    halo
        Entries among those read, or for a transposed product written, that other blocks' rows stand for.
    nnz
        Stored entries of the block; None if they are not known yet.
    kind, itemsize
        Of the result's element type, as NumPy has them.
    matrix_nbytes
        Of the block: entries, column indices and row pointers; None where `nnz` is.
    streamed
        Whether the task brings the block up to its device first.
    """

    pieces: tuple[Piece, ...]
    reads: int
    writes: int
    trailing: tuple[int, ...]
    halo: int
    nnz: int | None
    kind: str
    itemsize: int
    matrix_nbytes: int | None
    streamed: bool = False

    @property
    def columns(self) -> int:
        """Vectors that it multiplies."""
        return prod(self.trailing)

    @property
    def scratch_nbytes(self) -> int:
        """Memory that its task needs besides what it is given and what it makes."""
        joined = self.reads * self.columns * self.itemsize if len(self.pieces) > 1 or self.streamed else 0
        return joined + (self.matrix_nbytes or 0) * self.streamed

    def work(self, *, on_device: bool) -> Pass:
        """What the task reads and writes in memory, each byte once, and computes; no entries where they are unknown."""
        vectors = self.reads + self.writes
        if len(self.pieces) > 1:
            vectors += 2 * self.reads  # they are joined first
        nbytes = (self.matrix_nbytes or 0) + vectors * self.columns * self.itemsize
        operations = weigh("add", self.kind, self.itemsize) * (2 * (self.nnz or 0) * self.columns)
        if on_device:
            uploaded = (self.matrix_nbytes or 0) if self.streamed else 0
            return Pass(uploaded_nbytes=uploaded, device_nbytes=nbytes, on_device=operations)
        into_tile = 2 * self.writes * self.columns * self.itemsize
        return Pass(host_nbytes=nbytes + into_tile, on_host=operations)


def block_nbytes(rows: int, width: int, nnz: int, itemsize: int) -> int:
    """Bytes of a row block of CSR, its indices of 32 bits where those do.

    Examples
    --------
    >>> block_nbytes(1000, 1000, 16000, 8)
    196004
    """
    index = 4 if max(nnz, width) < 2**31 else 8
    return nnz * (itemsize + index) + (rows + 1) * index


@dataclass(frozen=True, slots=True)
class SparseProduct:
    """One product of a sparse matrix, as far as it is needed.

    Attributes
    ----------
    shape
        Of what is multiplied from the left.
    tasks
        Tasks that multiply.
    nnz
        Stored entries that they read; None if some are not known yet.
    matrix_nbytes
        Of the blocks that they read; None likewise.
    halo
        Entries of x, or of partial results, that tasks read or write beyond what their own blocks' rows stand for.
    halo_nbytes
        The same in bytes.
    predicted_s
        Seconds of these tasks, on the active cluster; what moves between workers is not counted.
    bound
        What takes the time, a key of `planning.elapsed.BOUNDS`.
    """

    shape: tuple[int, int]
    tasks: int
    nnz: int | None
    matrix_nbytes: int | None
    halo: int
    halo_nbytes: int
    predicted_s: float
    bound: str

    def rows(self) -> list[tuple[str, str]]:
        """As (what, how much) pairs for people."""
        tasks = f"{self.tasks} task{'s' * (self.tasks != 1)}"
        counted = "entries not counted yet"
        if self.nnz is not None and self.matrix_nbytes is not None:
            counted = f"{self.nnz} entries, {format_nbytes(self.matrix_nbytes)}"
        rows = [("sparse product", f"{self.shape[0]} × {self.shape[1]} by a vector in {tasks}: {counted}")]
        halo = f"{self.halo} entries of vectors beyond the blocks' own rows, {format_nbytes(self.halo_nbytes)}"
        rows.append(("  halo", halo))
        rate = f" ({format_rate(2 * self.nnz / self.predicted_s, 'FLOP/s')})" if self.nnz and self.predicted_s else ""
        rows.append(("  takes", f"{format_seconds(self.predicted_s)}{rate}, bound by {BOUNDS[self.bound]}"))
        return rows


def plan_sparse(
    shape: tuple[int, int], products: Sequence[BlockProduct], resources: Resources, *, on_device: bool
) -> SparseProduct:
    """The plan of the tasks `products` of a matrix of `shape`.

    Examples
    --------
    >>> from overspill.planning.resources import Rates
    >>> rates = Rates({}, 50e9, 40e9, 90e9, 1e9, 1e9, 4e12, 1e13, 0.0, "figures made up")
    >>> given = Resources("cuda", 1, 2, 2**36, 2**36, rates, rates)
    >>> nnz, n = 2**28, 2**24
    >>> one = BlockProduct((Piece(0, 0, n, 0),), n, n, (), 0, nnz, "f", 8, block_nbytes(n, n, nnz, 8))
    >>> found = plan_sparse((n, n), [one], given, on_device=True)
    >>> found.nnz, found.halo, found.bound
    (268435456, 0, 'device memory')
    """
    predicted_s, bound = elapsed([product.work(on_device=on_device) for product in products], resources)
    known = [product.nnz for product in products if product.nnz is not None]
    sizes = [product.matrix_nbytes for product in products if product.matrix_nbytes is not None]
    complete = len(known) == len(products)
    return SparseProduct(
        shape=shape,
        tasks=len(products),
        nnz=sum(known) if complete else None,
        matrix_nbytes=sum(sizes) if complete else None,
        halo=sum(product.halo * product.columns for product in products),
        halo_nbytes=sum(product.halo * product.columns * product.itemsize for product in products),
        predicted_s=predicted_s,
        bound=bound,
    )
