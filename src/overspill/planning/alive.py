"""How many bytes of results exist at a time while a graph runs, on the device and on the host. Integers only."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """A task as far as memory is concerned.

    Attributes
    ----------
    inputs
        Positions of the tasks whose results it takes, each once. All lie before its own: tasks stand in the order they
        are to run.
    device_nbytes, host_nbytes
        Bytes of its result on a device and in host memory.
    made
        Whether the result is there before anything runs, and stays: chunks that were persisted or given as they are.
    wanted
        Whether the result is part of what is computed.
    held_back
        Whether Dask's scheduler keeps it in a queue until a worker has nothing else to do, as it does with tasks that
        load or make what others use up.
    """

    inputs: tuple[int, ...]
    device_nbytes: int = 0
    host_nbytes: int = 0
    made: bool = False
    wanted: bool = False
    held_back: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """What a computation asks of one kind of memory, the devices' or the host's.

    Attributes
    ----------
    held_nbytes
        Most bytes of results at a time: chunks being made, waiting to be used, or kept.
    largest_chunk_nbytes
        Bytes of the largest result of one task.
    largest_task_nbytes
        Most bytes of one task's inputs and result together; its temporaries are not known.
    """

    held_nbytes: int = 0
    largest_chunk_nbytes: int = 0
    largest_task_nbytes: int = 0


def demands(works: Sequence[Work], slots: int, *, keep: bool) -> tuple[Demand, Demand]:
    """What `works` ask of the devices and of the host, when the first `slots` tasks that can run do so at a time.

    What is held back runs when fewer others can.

    Results are let go when their last user has run; those that are wanted stay if `keep`, else go as they are made, as
    when they are stored block by block. A result that nobody asks for counts while it is made.

    Examples
    --------
    >>> chain = [Work((), host_nbytes=8), Work((0,), host_nbytes=8), Work((1,), host_nbytes=1, wanted=True)]
    >>> demands(chain, 1, keep=True)[1]
    Demand(held_nbytes=16, largest_chunk_nbytes=8, largest_task_nbytes=16)
    """
    on_device = [work.device_nbytes for work in works]
    on_host = [work.host_nbytes for work in works]
    device_held, host_held = _most_held(works, slots, keep=keep)
    return _demand(works, on_device, device_held), _demand(works, on_host, host_held)


def _demand(works: Sequence[Work], nbytes: Sequence[int], held_nbytes: int) -> Demand:
    tasks = (nbytes[i] + sum(nbytes[j] for j in work.inputs) for i, work in enumerate(works) if not work.made)
    return Demand(held_nbytes, max(nbytes, default=0), max(tasks, default=0))


def _most_held(works: Sequence[Work], slots: int, *, keep: bool) -> tuple[int, int]:
    users: list[list[int]] = [[] for _ in works]
    missing, waiting = [0] * len(works), [0] * len(works)
    for i, work in enumerate(works):
        for j in work.inputs if not work.made else ():
            waiting[j] += 1
            if not works[j].made:
                users[j].append(i)
                missing[i] += 1
    stays = [work.made or (keep and work.wanted) for work in works]
    device = device_most = sum(work.device_nbytes for work in works if work.made)
    host = host_most = sum(work.host_nbytes for work in works if work.made)
    ready = sorted((work.held_back, i) for i, work in enumerate(works) if not missing[i] and not work.made)
    while ready:
        running = [heapq.heappop(ready)[1] for _ in range(min(slots, len(ready)))]
        device += sum(works[i].device_nbytes for i in running)
        host += sum(works[i].host_nbytes for i in running)
        device_most, host_most = max(device_most, device), max(host_most, host)
        for i in running:
            for j in works[i].inputs:
                waiting[j] -= 1
            for j in (*works[i].inputs, i):
                if not waiting[j] and not stays[j]:
                    device -= works[j].device_nbytes
                    host -= works[j].host_nbytes
            for j in users[i]:
                missing[j] -= 1
                if not missing[j]:
                    heapq.heappush(ready, (works[j].held_back, j))
    return device_most, host_most
