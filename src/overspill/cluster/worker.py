"""The worker that spills: what a task needs is brought up, and what a peer asks for copied down, off the event loop."""

import asyncio
import gc
import logging
import pickle
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import Any, TypeVar

from distributed import Nanny, Worker
from distributed.worker_state_machine import ExecuteFailureEvent, RescheduleEvent, SecedeEvent, StateMachineEvent

from overspill.cluster import network
from overspill.cluster.admission import Admission
from overspill.cluster.endings import watch
from overspill.cluster.precedence import Precedence
from overspill.errors import MemoryBudgetError
from overspill.memory.store import Store
from overspill.memory.store.parcel import Recipient, outgoing

T = TypeVar("T")

MOST_WAITING = 64
"""Tasks whose inputs are brought up at a time: those that run, and those that have let others run in their place."""

MOST_SENDING = 4
"""Peers for whom values are brought to host memory at a time."""

logger = logging.getLogger(__name__)


class SpillingWorker(Worker):
    """A Dask worker whose data is a spill store."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        network.prepare(self._protocol)
        # Threads for those who wait, and so never fewer than there may be waiting; peers and tasks apart, since a task
        # may wait for another one to be brought up, which must not stand behind a peer that waits for the first.
        self._for_tasks = ThreadPoolExecutor(MOST_WAITING, thread_name_prefix="overspill-inputs")
        self._for_peers = ThreadPoolExecutor(MOST_SENDING, thread_name_prefix="overspill-outputs")
        self._admission = Admission(self._away)
        self._precedence = Precedence(self.state.tasks)
        self.store.keeper.excuse(self._away)

    @property
    def store(self) -> Store:
        """The worker's data."""
        assert isinstance(self.data, Store)
        return self.data

    async def execute(self, key: Any, *, stimulus_id: str) -> StateMachineEvent:
        """Run a task as Dask does, with its inputs where it wants them; again and alone if it runs out of memory."""
        if await self._precedence.gives_way(key):
            return RescheduleEvent(key=key, stimulus_id=f"another-tile-begins-{time()}")
        await self._admission.open()
        with self._admission.together():
            if self.store.keeper.crowded():
                # Tasks that make values faster than they are spilled would fill the memory that the limits protect.
                await _in(self._for_tasks, self.store.keeper.settle)
            event = await self._execute(key, stimulus_id)
        if not _ran_out_of_memory(event):
            return event
        logger.info("Task %r ran out of memory and runs again, alone", key)
        del event
        gc.collect()  # the traceback held what the task had allocated
        async with self._admission.alone(lambda: self.state.tasks[key] in self.state.long_running):
            return await self._execute(key, stimulus_id)

    async def _execute(self, key: Any, stimulus_id: str) -> StateMachineEvent:
        task = self.state.tasks[key]
        inputs = [dependency.key for dependency in task.dependencies]
        pinned = self.store.pin(inputs)
        try:
            if not self.store.acquire_at_once(pinned):
                await _in(self._for_tasks, self.store.acquire, pinned)
            return await super().execute(key, stimulus_id=stimulus_id)
        except Exception as error:  # of `acquire`, since Dask turns those of tasks into events itself
            return ExecuteFailureEvent.from_exception(
                error, key=key, run_id=task.run_id, stimulus_id=f"inputs-not-brought-up-{time()}"
            )
        finally:
            self.store.release(pinned)

    def handle_stimulus(self, *events: StateMachineEvent) -> None:
        """Take note as Dask does; who waits for a task that now waits for others hears of it."""
        super().handle_stimulus(*events)
        if any(isinstance(event, SecedeEvent) for event in events):
            self.store.keeper.look_again()
            self._admission.look_again()

    def _away(self) -> int:
        """Number of tasks that have let others run in their place, and may be waiting for them."""
        return len(self.state.long_running)

    async def get_data(self, comm: Any, keys: Iterable[Any], who: str | None = None, **options: Any) -> Any:
        """Send values as Dask does; those of a device from host memory, where peers of this host can map them.

        Only over UCXX, and to other workers, do they go from device to device.
        """
        keys = list(keys)
        recipient: Recipient = "worker" if who else "client"
        if recipient == "worker" and network.reaches_devices(self.address):
            prepared = self.store.at_hand(keys)
        else:
            prepared = self.store.prepared(keys, recipient)
        if prepared is None:
            prepared = await _in(self._for_peers, self.store.prepare, keys, recipient)
        token = outgoing.set(prepared)
        try:
            return await super().get_data(comm, keys, who=who, **options)
        finally:
            outgoing.reset(token)
            if prepared is not None:
                prepared.clear()  # callbacks may keep this context, and must not keep the values

    async def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close as Dask does, and the store's threads with it."""
        try:
            return await super().close(*args, **kwargs)
        finally:
            for executor in (self._for_tasks, self._for_peers):
                executor.shutdown(wait=False, cancel_futures=True)
            self.store.close()


def _ran_out_of_memory(event: StateMachineEvent) -> bool:
    """Whether a task failed for lack of memory, as it might not if no other one took some."""
    if not isinstance(event, ExecuteFailureEvent):
        return False
    error = pickle.loads(event.exception.data)
    return isinstance(error, MemoryError) and not isinstance(error, MemoryBudgetError)


async def _in(executor: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)


class SpillingNanny(Nanny):
    """The nanny of a worker that spills, and the first to hear of its death."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "worker_class": SpillingWorker})
        watch(self)
