"""Tiles, the pools they come from, and what moves them. Importing this teaches Dask to send tiles as handles."""

from overspill.memory import ledger, sparse_transfer, transfer
from overspill.memory.tile import as_tile, close, configure, empty, is_tile, purge

transfer.register()
sparse_transfer.register()

__all__ = ["as_tile", "close", "configure", "empty", "is_tile", "ledger", "purge"]
