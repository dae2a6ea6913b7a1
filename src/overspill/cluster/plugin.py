"""What makes a Dask worker one of ours: limits on tiles and results, and the mappings of dead processes let go."""

import asyncio
from collections.abc import Callable
from typing import Any

from distributed import Worker
from distributed.diagnostics.plugin import WorkerPlugin
from numpy.typing import NDArray
from tornado.ioloop import PeriodicCallback

from overspill import memory
from overspill.cluster import copies, metrics
from overspill.memory.store import Store, process

PURGE_INTERVAL_S = 1.0
"""How long the memory of a dead worker may stay mapped in a live one."""


class TilePlugin(WorkerPlugin):
    """Gives each worker, also one that replaces a dead one, its tile pool, and its spill store the limits to keep to.

    Parameters
    ----------
    pool_nbytes
        Bytes of tiles that one worker may hold.
    device_nbytes
        Bytes of its GPU that one worker's stream and results may take together; 0 without a GPU.
    """

    name = "overspill-tiles"

    def __init__(self, pool_nbytes: int, device_nbytes: int) -> None:
        self.pool_nbytes = pool_nbytes
        self.device_nbytes = device_nbytes

    def setup(self, worker: Worker) -> None:
        """Prepare `worker`; called in its process before it takes any task."""
        lock_pages = _page_locking() if self.device_nbytes else None
        memory.configure(pool_nbytes=self.pool_nbytes, directory=worker.local_directory, lock_pages=lock_pages)
        if isinstance(worker.data, Store):
            worker.data.open(process.device(self.device_nbytes) if self.device_nbytes else None)
        copies.fetch_several(worker, self.device_nbytes)
        metrics.expose(worker)
        self._purge = PeriodicCallback(_purge, PURGE_INTERVAL_S * 1000)
        self._purge.start()

    def teardown(self, worker: Worker) -> None:
        """Give the worker's idle tiles back."""
        metrics.withdraw(worker)
        self._purge.stop()
        memory.close()


async def _purge() -> None:
    # Unlocking and unmapping what a dead worker held may take seconds, in which others want an answer.
    await asyncio.get_running_loop().run_in_executor(None, memory.purge)


def _page_locking() -> Callable[[NDArray[Any]], object]:
    from overspill.memory.pinning import pin

    return pin
