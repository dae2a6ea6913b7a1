"""Arrays on disk: Zarr stores read chunk by chunk, and written block by block with a completion record for each."""

from overspill.storage.save import save
from overspill.storage.stored import StoredArray, open

__all__ = ["StoredArray", "open", "save"]
