"""Ranks of a round as threads of one process, each with a communicator of its own."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from overspill.linalg.resident import meeting, mesh
from overspill.linalg.resident.communicator import Communicator


def shared(rank: mesh.Mesh) -> Communicator:
    from overspill.linalg.resident.shared import Shared

    return Shared(rank)


def sockets(rank: mesh.Mesh) -> Communicator:
    from overspill.linalg.resident.sockets import Sockets

    return Sockets(rank)


def nccl(rank: mesh.Mesh) -> Communicator:
    import cupy

    from overspill.linalg.resident.nccl import NCCL

    cupy.cuda.Device(rank.rank).use()
    return NCCL(rank)


KINDS = [shared, sockets, pytest.param(nccl, marks=pytest.mark.multi_gpu)]


def meshes(size: int, host: str | None = None) -> list[mesh.Mesh]:
    """The meshes of as many ranks, within this host or, given one, by way of it."""
    listeners = [meeting.listener(host, size) for _ in range(size)]
    where = meeting.Meeting("test", os.urandom(32), tuple(meeting.address_of(found) for found in listeners))
    with ThreadPoolExecutor(size) as threads:
        joined = [threads.submit(meeting.join, where, rank, listeners[rank], lambda: True) for rank in range(size)]
        return [each.result() for each in joined]


def run(size: int, kind: Callable[[mesh.Mesh], Communicator], work: Callable[[Communicator], Any]) -> list[Any]:
    """What `work` returns on each rank."""

    def take_part(rank: mesh.Mesh) -> Any:
        communicator = kind(rank)
        try:
            found = work(communicator)
        except BaseException:
            communicator.abort()
            raise
        communicator.close()
        return found

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(take_part, meshes(size, "127.0.0.1" if kind is sockets else None)))
