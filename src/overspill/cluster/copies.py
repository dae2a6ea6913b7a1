"""Copies of chunks that a GPU fetches from another one: several come at a time, and stay while there is room.

Dask's active memory manager drops them within seconds, once no task waits for them: the next product, or the next step
of a solver, would fetch them again. It goes on as it was for all else:

- on clusters of CPUs, and for results that lie in host memory: what is fetched there is a tile's handle, which costs
  nothing to fetch again, while the tile's owner cannot use the memory for anything else before it is given up;
- over TCP, where chunks of a GPU are fetched as such handles too;
- on clusters that somebody else started.
"""

from distributed import Client, Scheduler, Worker
from distributed.active_memory_manager import ReduceReplicas, Suggestion, SuggestionGenerator
from distributed.scheduler import TaskState, WorkerState

from overspill.cluster import network
from overspill.memory.store.tiers import MOST_HEADROOM

ROOM = 1 - MOST_HEADROOM
"""Share of a worker's device budget that results and copies may fill together before copies are dropped: what the store
leaves to them however much tasks ask for, so that it takes no result down for the sake of copies."""

FETCHED_SHARE = 1 / 64
"""Of a worker's device budget, what it asks a peer for at a time. With Dask's 50 MB, or one chunk that is larger, the
first product in the memory of four H200s took 4.3 s instead of 3.8."""

DEVICE_PACKAGES = ("cupy", "cupyx")
"""Where the types of chunks on a GPU come from."""


class KeepCopies(ReduceReplicas):
    """Drops the copies that Dask's own policy would drop, but chunks of a GPU only from workers that lack room.

    Parameters
    ----------
    device_nbytes
        Bytes of its GPU that one worker may use.
    """

    def __init__(self, device_nbytes: int) -> None:
        self.room_nbytes = int(ROOM * device_nbytes)

    def run(self) -> SuggestionGenerator:
        """Suggest what to drop, and from which workers; Dask never drops the last copy, nor one that a task needs."""
        scheduler = self.manager.scheduler
        # Spilled results count as if they lay on the GPU, where they return to when they are asked for.
        held_nbytes = {worker: worker.nbytes for worker in scheduler.workers.values()}

        def lacks_room(worker: WorkerState) -> bool:
            # Workers that retire must drop first, or what they hand over would be dropped, and handed over again.
            return worker not in scheduler.running or held_nbytes[worker] > self.room_nbytes

        for superfluous in super().run():
            task = superfluous.ts
            holders = task.who_has or set()
            candidates = {worker for worker in holders if lacks_room(worker)} if _is_on_gpu(task) else holders
            if candidates and (dropped := (yield Suggestion("drop", task, candidates))):
                held_nbytes[dropped] -= task.get_nbytes()


def keep(client: Client, device_nbytes: int) -> None:
    """Let GPUs keep what they fetch, in a budget of `device_nbytes` each, if chunks go from GPU to GPU."""
    if all(client.run(_sends_from_gpu).values()):
        client.run_on_scheduler(replace_policy, device_nbytes)


def fetch_several(worker: Worker, device_nbytes: int) -> None:
    """Let `worker` fetch as much at a time as suits its budget on a GPU, if chunks go from GPU to GPU."""
    if _sends_from_gpu(worker):
        limit = worker.state.transfer_message_bytes_limit
        worker.state.transfer_message_bytes_limit = max(limit, FETCHED_SHARE * device_nbytes)


def replace_policy(device_nbytes: int, dask_scheduler: Scheduler) -> None:
    """Put `KeepCopies` where Dask's own policy is; what is off, or not wanted, stays so."""
    manager = dask_scheduler.extensions.get("amm")
    if manager is None:
        return
    stock = {policy for policy in manager.policies if type(policy) is ReduceReplicas}
    if stock:
        manager.policies -= stock
        manager.add_policy(KeepCopies(device_nbytes))


def _sends_from_gpu(dask_worker: Worker) -> bool:
    return network.reaches_devices(dask_worker.address)


def _is_on_gpu(task: TaskState) -> bool:
    # Of what a client has scattered the scheduler knows no type.
    return (task.type or "").partition(".")[0] in DEVICE_PACKAGES
