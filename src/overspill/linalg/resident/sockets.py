"""Processes of several hosts: messages go through the sockets, pair by pair in an order that nobody waits round."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from overspill.linalg.resident.communicator import Gathered
from overspill.linalg.resident.mesh import Mesh


class Sockets:
    """The communicator of processes that share no memory; see `communicator.Communicator`."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.rank, self.size = mesh.rank, mesh.size

    def allgather(self, part: Any, word: int) -> Gathered:
        """See `communicator.Communicator`."""
        return allgather(self.mesh, part, word)

    def exchange(self, sends: Sequence[Any], receives: Sequence[Any]) -> Callable[[], None]:
        """See `communicator.Communicator`."""

        def finish() -> None:
            for peer in partners(self.rank, self.size):
                if self.rank < peer:
                    self._send(peer, sends[peer])
                if receives[peer] is not None:
                    self.mesh.receive_into(peer, receives[peer])
                if self.rank > peer:
                    self._send(peer, sends[peer])

        return finish

    def close(self) -> None:
        """See `communicator.Communicator`."""
        self.mesh.allgather(b"good-bye")
        self.mesh.close()

    def abort(self) -> None:
        """See `communicator.Communicator`."""
        self.mesh.close()

    def _send(self, peer: int, message: Any) -> None:
        if message is not None:
            self.mesh.send(peer, message)


SHORT_NBYTES = 2**14
"""Messages up to this size the system takes before anybody reads them, so that all can send theirs at once."""


def allgather(mesh: Mesh, part: Any, word: int) -> Gathered:
    """See `communicator.Communicator`."""
    part = np.ascontiguousarray(part)
    message = bytes([word]) + part.tobytes()
    messages = mesh.allgather(message) if len(message) <= SHORT_NBYTES else _one_by_one(mesh, message)
    parts = [np.frombuffer(message, part.dtype, offset=1).reshape(part.shape) for message in messages]
    return Gathered(np.stack(parts), np.array([message[0] for message in messages]))


def _one_by_one(mesh: Mesh, message: bytes) -> list[bytes]:
    """The messages of all ranks, in their order, where all are too long to be sent before they are read."""
    messages = [message] * mesh.size
    for peer in partners(mesh.rank, mesh.size):
        if mesh.rank < peer:
            mesh.send(peer, message)
        messages[peer] = bytes(mesh.receive(peer))
        if mesh.rank > peer:
            mesh.send(peer, message)
    return messages


def partners(rank: int, size: int) -> list[int]:
    """The peers of `rank` in the order of a round-robin tournament: both of a pair meet in the same of `size` rounds.

    Each waits for its partner of one round before it goes on to the next one's, so that no circle of processes waits.

    Examples
    --------
    >>> [partners(rank, 4) for rank in range(4)]
    [[3, 1, 2], [2, 3, 0], [1, 3, 0], [0, 1, 2]]
    """
    rounds = ((size - 1 + number - rank) % size for number in range(size))
    return [peer for peer in rounds if peer != rank]
