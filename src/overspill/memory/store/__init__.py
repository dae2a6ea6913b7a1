"""The spill store: a worker's results on the device, in page-locked tiles and on disk, each tier with a byte limit."""

from overspill.memory.store.store import Store

__all__ = ["Store"]
