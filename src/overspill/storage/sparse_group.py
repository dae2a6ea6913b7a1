"""The Zarr group of a sparse matrix, as anndata lays it out: three arrays, and attributes that say what they are.

Attributes ``encoding-type``, ``encoding-version`` and ``shape`` are anndata's for a ``csr_matrix``; what Overspill
knows besides stands under ``overspill``: the row blocks, and whose save it is.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from overspill.errors import StorageError
from overspill.storage import node, target
from overspill.storage.group import make_group

ARRAYS = ("data", "indices", "indptr")

ENTRIES = frozenset({*ARRAYS, "zarr.json", ".zgroup", ".zattrs", ".zmetadata"})
"""What such a group's directory may hold; anything else is someone's file, and the directory is not removed."""

KEY = "overspill"


@dataclass(frozen=True, slots=True)
class SparseGroup:
    """What the group of a sparse matrix says of it.

    Attributes
    ----------
    shape
        Rows and columns.
    token
        Names the computation that is saved; None if another program wrote the group.
    blocks
        Of each row block its rows, the first column of its window and the one after the last, and its stored entries;
        none if another program wrote the group.
    """

    shape: tuple[int, int]
    token: str | None
    blocks: tuple[tuple[int, int, int, int], ...]

    @property
    def nnz(self) -> int:
        """Stored entries of all blocks."""
        return sum(nnz for *_, nnz in self.blocks)

    def attributes(self) -> dict[str, Any]:
        """As the group has it."""
        return {
            "encoding-type": "csr_matrix",
            "encoding-version": "0.1.0",
            "shape": list(self.shape),
            KEY: {"token": self.token, "blocks": [list(block) for block in self.blocks]},
        }


def read_group(path: Path) -> SparseGroup:
    """What the group at `path` says of its matrix.

    Raises
    ------
    StorageError
        If there is no Zarr group of a matrix in CSR format.
    """
    if not any((path / name).is_file() for name in node.METADATA):
        raise StorageError(f"no Zarr group of a sparse matrix at {path}: nothing there has Zarr's metadata")
    try:
        attributes: dict[str, Any] = zarr.open_group(LocalStore(path, read_only=True), mode="r").attrs.asdict()
    except Exception as error:  # Zarr raises whatever its parsers do
        raise StorageError(f"{path} is no readable Zarr group ({node.brief(error)}): open another path") from error
    kind = attributes.get("encoding-type")
    if kind == "csc_matrix":
        raise StorageError(f"{path} is stored by columns (csc_matrix): open and convert it where it was written")
    if kind != "csr_matrix":
        raise StorageError(f"{path} is no sparse matrix: its attribute encoding-type is {kind!r}, not 'csr_matrix'")
    try:
        rows, columns = map(int, attributes["shape"])
        own = attributes.get(KEY)
        if own is None:
            return SparseGroup((rows, columns), None, ())
        blocks = tuple((int(block[0]), int(block[1]), int(block[2]), int(block[3])) for block in own["blocks"])
        group = SparseGroup((rows, columns), str(own["token"]), blocks)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise StorageError(f"{path} has damaged attributes ({error!r}): save the matrix anew") from None
    if sum(count for count, *_ in group.blocks) != rows:
        raise StorageError(f"{path} has row blocks that are not its {rows} rows: save the matrix anew")
    return group


def create_group(path: Path, group: SparseGroup) -> None:
    """Make the group at `path`, where nothing is, without its arrays.

    Raises
    ------
    StoreExistsError
        If something is there after all.
    StorageError
        If it cannot be made there.
    """
    with target.beside(path) as prepared:
        make_group(prepared, group.attributes())
        target.place(prepared, path)


def replace_group(path: Path, group: SparseGroup) -> None:
    """Put the group in the place of the sparse matrix at `path`, which goes only when that is ready.

    Raises
    ------
    StorageError
        If there is something else, or the group cannot be made.
    """
    try:
        read_group(path)
    except StorageError as error:
        raise StorageError(f"overwrite=True replaces sparse matrices only, but {error}") from None
    if strange := sorted(set(os.listdir(path)) - ENTRIES):
        raise StorageError(f"{path} holds {strange[0]}, which is no part of a sparse matrix: move it away first")
    path = path.resolve()
    with target.beside(path) as prepared:
        make_group(prepared, group.attributes())
        target.exchange(prepared, path)
