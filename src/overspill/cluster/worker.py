"""The worker that spills: what a task needs is brought up, and what a peer asks for copied down, off the event loop."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from distributed import Nanny, Worker
from distributed.worker_state_machine import StateMachineEvent

from overspill.memory.store import Store
from overspill.memory.store.parcel import sending_to

logger = logging.getLogger(__name__)


class SpillingWorker(Worker):
    """A Dask worker whose data is a spill store."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # One thread a task, so that one that waits for memory does not hold up another, and some for peers.
        self._movers = ThreadPoolExecutor(self.state.nthreads + 2, thread_name_prefix="overspill-mover")

    @property
    def store(self) -> Store:
        """The worker's data."""
        assert isinstance(self.data, Store)
        return self.data

    async def execute(self, key: Any, *, stimulus_id: str) -> StateMachineEvent:
        """Run a task as Dask does, with its inputs where it wants them, kept there until it has ended."""
        if self.store.crowded():
            # Tasks that make values faster than they are spilled would fill the memory that the limits protect.
            await self._in_mover(self.store.settle)
        inputs = [dependency.key for dependency in self.state.tasks[key].dependencies]
        pinned = self.store.pin(inputs)
        try:
            if not self.store.ready(inputs):
                try:
                    await self._in_mover(self.store.acquire, inputs)
                except Exception:  # the task meets it again as it takes its inputs, and fails of it with a traceback
                    logger.debug("The inputs of %r cannot be brought up", key, exc_info=True)
            return await super().execute(key, stimulus_id=stimulus_id)
        finally:
            self.store.release(pinned)

    async def get_data(self, comm: Any, keys: Iterable[Any], who: str | None = None, **options: Any) -> Any:
        """Send values as Dask does; those of a device from host memory, in one piece with their peers' handles."""
        keys = list(keys)
        # Where the network reaches into devices, what is there is better sent from there.
        if not self.address.startswith("ucx") and not self.store.packed(keys):
            await self._in_mover(self.store.pack, keys)
        sending = sending_to.set("worker" if who else "client")
        try:
            return await super().get_data(comm, keys, who=who, **options)
        finally:
            sending_to.reset(sending)

    async def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close as Dask does, and the store's threads with it."""
        try:
            return await super().close(*args, **kwargs)
        finally:
            self._movers.shutdown(wait=False, cancel_futures=True)
            self.store.close()

    async def _in_mover(self, move: Callable[..., None], *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._movers, move, *arguments)


class SpillingNanny(Nanny):
    """The nanny of a worker that spills."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "worker_class": SpillingWorker})
