"""Zarr groups: directories whose arrays belong together, as the variables of a dataset do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from overspill.errors import StorageError
from overspill.storage import node
from overspill.storage.labels import check_attributes


def make_group(path: Path, attributes: Mapping[str, Any]) -> None:
    """Make the Zarr group at `path`, or give `attributes` to the one that is there; its arrays stay.

    Raises
    ------
    StorageError
        If something else is there, or it cannot be written.
    UsageError
        If `attributes` are not JSON.
    """
    check_attributes(attributes)
    try:
        zarr.open_group(LocalStore(path), mode="a", zarr_format=3).update_attributes(dict(attributes))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or node.brief(error)}") from error
    except Exception as error:  # Zarr raises whatever its parsers do
        raise StorageError(f"{path} is no readable Zarr group ({node.brief(error)}): name another path") from error
