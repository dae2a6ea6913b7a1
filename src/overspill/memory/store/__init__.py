"""The spill store: a worker's results on the device, in page-locked tiles and on disk, each tier with a byte limit.

From the outside in: `store` is the mapping that a worker puts its results in, `tiers` what lies where, `mover` takes
one value down or up, `keeper` decides when, `turns` lets tasks wait for each other. They work on an `entry` a value,
counted by `accounts`, taken apart by `packing` into frames that `disk` writes and `parcel` sends. `device` is what is
asked of a GPU, `cuda` how CuPy does it, `memory_cuda` what it does within the limit, with a `pool_cuda` and recycled
`blocks`.
"""

from overspill.memory.store.store import Store

__all__ = ["Store"]
