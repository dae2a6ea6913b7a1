"""Processes of one host: large messages lie in tiles, of which sockets tell that they are there."""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overspill import memory
from overspill.linalg.resident.communicator import Gathered
from overspill.linalg.resident.mesh import Mesh
from overspill.linalg.resident.sockets import allgather
from overspill.memory import tile

INLINE_NBYTES = 2**14
"""Messages up to this size go through the socket: the system has room for two of them, so that nobody waits."""


class Shared:
    """The communicator of processes that can map each other's tiles; see `communicator.Communicator`.

    To each peer a process writes in two tiles by turns. It may write over one of them once the peer has told of its own
    part of the exchange after, since by then the peer has read what was in it.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.rank, self.size = mesh.rank, mesh.size
        self._outboxes = [_Outbox() for _ in range(self.size)]
        self._inboxes: list[dict[int, NDArray[np.uint8]]] = [{} for _ in range(self.size)]

    def allgather(self, part: Any, word: int) -> Gathered:
        """See `communicator.Communicator`."""
        return allgather(self.mesh, part, word)

    def exchange(self, sends: Sequence[Any], receives: Sequence[Any]) -> Callable[[], None]:
        """See `communicator.Communicator`."""
        # Who only receives tells so too: it says that what it was sent before has been read.
        talking = [peer for peer in range(self.size) if sends[peer] is not None or receives[peer] is not None]
        for peer in talking:
            self.mesh.send(peer, pickle.dumps(self._outboxes[peer].put(sends[peer]), protocol=5))

        def finish() -> None:
            for peer in talking:
                kind, turn, content = pickle.loads(self.mesh.receive(peer))
                if kind == "inline":
                    found = np.frombuffer(content, np.uint8)
                else:
                    if content is not None:
                        self._inboxes[peer][turn] = tile.from_handle(content)
                    found = self._inboxes[peer][turn]
                if receives[peer] is not None:
                    target = _bytes(receives[peer])
                    np.copyto(target, found[: target.size])

        return finish

    def close(self) -> None:
        """See `communicator.Communicator`."""
        self.mesh.allgather(b"good-bye")
        self.mesh.close()

    def abort(self) -> None:
        """See `communicator.Communicator`."""
        self.mesh.close()


class _Outbox:
    """Two tiles that one peer reads."""

    def __init__(self) -> None:
        self._tiles: list[NDArray[np.uint8] | None] = [None, None]
        self._turn = 0

    def put(self, message: Any) -> tuple[str, int, Any]:
        """What to tell the peer of: the bytes themselves, or which tile, and its handle if it is a new one."""
        self._turn = 1 - self._turn
        source = np.empty(0, np.uint8) if message is None else _bytes(message)
        if source.size <= INLINE_NBYTES:
            return "inline", self._turn, source.tobytes()
        handle, found = None, self._tiles[self._turn]
        if found is None or found.size < source.size:
            found = memory.empty((max(source.size, tile.SMALLEST_NBYTES),), np.uint8)
            handle = tile.to_handle(found)
            if handle is None:  # no descriptor is left for a tile
                return "inline", self._turn, source.tobytes()
            self._tiles[self._turn] = found
        np.copyto(found[: source.size], source)
        return "tile", self._turn, handle


def _bytes(x: NDArray[Any]) -> NDArray[np.uint8]:
    return x.reshape(-1).view(np.uint8)
