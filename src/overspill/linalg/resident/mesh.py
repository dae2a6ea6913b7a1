"""Sockets between the processes of a round: how they talk, and learn that one of them has gone."""

import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

_LENGTH = struct.Struct("<Q")


class EndedError(Exception):
    """The round is over for a process through no fault of its own: a peer has gone, or nobody waits for the result."""


class Mesh:
    """A connection with each peer of a round.

    Attributes
    ----------
    rank, size
        Which of how many processes this is.
    peers
        The sockets by rank; None at this one's own place.
    """

    def __init__(self, rank: int, peers: Sequence[socket.socket | None]) -> None:
        self.rank = rank
        self.size = len(peers)
        self.peers = tuple(peers)

    def send(self, peer: int, message: Any) -> None:
        """Send bytes to `peer`; waits where the system has no room for them.

        Raises
        ------
        EndedError
            If the peer has gone.
        """
        view = memoryview(message).cast("B")
        connection = self._socket(peer)
        try:
            sent = connection.sendmsg([_LENGTH.pack(view.nbytes), view]) - _LENGTH.size
            if sent < view.nbytes:
                connection.sendall(view[sent:])
        except OSError as error:
            raise gone(peer) from error

    def receive(self, peer: int) -> bytearray:
        """The next message of `peer`.

        Raises
        ------
        EndedError
            If the peer has gone.
        """
        message = bytearray(self._length(peer))
        fill(self._socket(peer), message, peer)
        return message

    def receive_into(self, peer: int, target: Any) -> None:
        """The next message of `peer`, which is as long as the contiguous array `target`, into that."""
        view = memoryview(target).cast("B")
        length = self._length(peer)
        assert length == view.nbytes, f"rank {peer} sent {length} bytes where {view.nbytes} were expected"
        fill(self._socket(peer), view, peer)

    def allgather(self, message: bytes) -> list[bytes]:
        """The short messages of all ranks, in their order."""
        for peer in self.others():
            self.send(peer, message)
        return [message if peer == self.rank else bytes(self.receive(peer)) for peer in range(self.size)]

    def abort(self) -> None:
        """Let everybody who waits for this process, and threads of it that wait for others, know that it is over."""
        for peer in self.peers:
            if peer is not None:
                with suppress(OSError):  # it was faster
                    peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connections."""
        self.abort()
        for peer in self.peers:
            if peer is not None:
                peer.close()

    def others(self) -> list[int]:
        """The ranks of the peers."""
        return [peer for peer in range(self.size) if peer != self.rank]

    def _socket(self, peer: int) -> socket.socket:
        found = self.peers[peer]
        assert found is not None, "nobody talks to itself"
        return found

    def _length(self, peer: int) -> int:
        header = bytearray(_LENGTH.size)
        fill(self._socket(peer), header, peer)
        return int(_LENGTH.unpack(header)[0])


def fill(connection: socket.socket, target: bytearray | memoryview, peer: int) -> None:
    """Read from `peer` as much as `target` has room for.

    Raises
    ------
    EndedError
        If the peer has gone.
    """
    view = memoryview(target)
    while view.nbytes:
        try:
            count = connection.recv_into(view, view.nbytes, socket.MSG_WAITALL)
        except OSError as error:
            raise gone(peer) from error
        if count == 0:
            raise gone(peer)
        view = view[count:]


def gone(peer: int) -> EndedError:
    """What to raise where `peer` has gone."""
    return EndedError(f"rank {peer} has gone")
