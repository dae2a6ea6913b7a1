"""Sockets between the processes of a round: how they meet, talk, and learn that one of them has gone."""

import hmac
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

Address: TypeAlias = str | tuple[str, int]
"""A name in Linux's abstract namespace of sockets, which leaves no file behind, or a host and a port."""

LOOK_S = 0.1
"""How often one who waits for the others to come looks whether the round is still wanted."""

GREETING_S = 5.0
"""What a peer has to say who it is, once it is there."""

_LENGTH = struct.Struct("<Q")
_GREETING = struct.Struct("<I32s")

_listening: dict[str, socket.socket] = {}
_lock = threading.Lock()


class EndedError(Exception):
    """The round is over for a process through no fault of its own: a peer has gone, or nobody waits for the result."""


class StrangerError(EndedError):
    """The process does not know the round: it is not the one that was asked to take part."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the processes of a round meet.

    Attributes
    ----------
    name
        Of this round and no other.
    key
        32 bytes by which they know each other.
    addresses
        Where each of them listens, by rank.
    """

    name: str
    key: bytes
    addresses: tuple[Address, ...]


def listen(name: str, host: str | None, backlog: int) -> Address:
    """Let this process be called by the peers of the round `name`; see `listener`."""
    found = listener(host, backlog)
    with _lock:
        _listening[name] = found
    return address_of(found)


def taken(name: str) -> socket.socket:
    """What listens for the round `name` in this process, which is now the caller's.

    Raises
    ------
    StrangerError
        If nothing does.
    """
    with _lock:
        found = _listening.pop(name, None)
    if found is None:
        raise StrangerError("this process does not know the round: it took another one's place")
    return found


def forget(name: str) -> None:
    """Listen no more for the round `name`."""
    with suppress(StrangerError):
        taken(name).close()


def listener(host: str | None, backlog: int) -> socket.socket:
    """A socket that takes calls: from within this host, or at `host` from beyond."""
    if host is None and sys.platform == "linux":
        found = socket.socket(socket.AF_UNIX)
        found.bind("")  # the system picks a name
        found.listen(backlog)
        return found
    family = socket.AF_INET6 if host and ":" in host else socket.AF_INET
    return socket.create_server((host or "127.0.0.1", 0), family=family, backlog=backlog)


def address_of(listener: socket.socket) -> Address:
    """Where it is called."""
    address: bytes | tuple[str, int] = listener.getsockname()
    return address.decode() if isinstance(address, bytes) else address[:2]


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
            raise _gone(peer) from error

    def receive(self, peer: int) -> bytearray:
        """The next message of `peer`.

        Raises
        ------
        EndedError
            If the peer has gone.
        """
        message = bytearray(self._length(peer))
        _fill(self._socket(peer), message, peer)
        return message

    def receive_into(self, peer: int, target: Any) -> None:
        """The next message of `peer`, which is as long as the contiguous array `target`, into that."""
        view = memoryview(target).cast("B")
        length = self._length(peer)
        assert length == view.nbytes, f"rank {peer} sent {length} bytes where {view.nbytes} were expected"
        _fill(self._socket(peer), view, peer)

    def allgather(self, message: bytes) -> list[bytes]:
        """The short messages of all ranks, in their order."""
        for peer in self._others():
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

    def _others(self) -> list[int]:
        return [peer for peer in range(self.size) if peer != self.rank]

    def _socket(self, peer: int) -> socket.socket:
        found = self.peers[peer]
        assert found is not None, "nobody talks to itself"
        return found

    def _length(self, peer: int) -> int:
        header = bytearray(_LENGTH.size)
        _fill(self._socket(peer), header, peer)
        return int(_LENGTH.unpack(header)[0])


def join(meeting: Meeting, rank: int, listener: socket.socket, wanted: Callable[[], bool]) -> Mesh:
    """Meet the peers, each of which does the same, by calling those before and being called, at `listener`, by others.

    Raises
    ------
    EndedError
        If one of them has gone, or `wanted` says that nobody waits for the result any more.
    """
    peers: list[socket.socket | None] = [None] * len(meeting.addresses)
    try:
        with listener:
            # All listen before the first one connects: the system takes calls for those that are not here yet.
            for peer in range(rank):
                peers[peer] = _call(meeting, rank, peer)
            while None in peers[rank + 1 :]:
                if not wanted():
                    raise EndedError("the round was called off")
                if _readable(listener):
                    _answer(listener, meeting, rank, peers)
        mesh = Mesh(rank, peers)
        # A call that the system has taken says nothing of the one called: from here on all are there.
        _await_all(mesh, wanted)
    except BaseException:
        for found in peers:
            if found is not None:
                found.close()
        raise
    return mesh


def _call(meeting: Meeting, rank: int, peer: int) -> socket.socket:
    address = meeting.addresses[peer]
    try:
        if isinstance(address, str):
            called = socket.socket(socket.AF_UNIX)
            called.connect(address)
        else:
            called = socket.create_connection(address)
            called.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        called.sendall(_GREETING.pack(rank, meeting.key))
    except OSError as error:
        raise _gone(peer) from error
    return called


def _answer(listener: socket.socket, meeting: Meeting, rank: int, peers: list[socket.socket | None]) -> None:
    """Let in who knows the key; everybody else is sent away."""
    caller, _ = listener.accept()
    greeting = bytearray(_GREETING.size)
    caller.settimeout(GREETING_S)
    try:
        _fill(caller, greeting, rank)
        peer, key = _GREETING.unpack(greeting)
    except (EndedError, OSError):
        caller.close()
        return
    if not hmac.compare_digest(key, meeting.key) or not rank < peer < len(peers) or peers[peer] is not None:
        caller.close()
        return
    caller.settimeout(None)
    if caller.family != socket.AF_UNIX:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peers[peer] = caller


def _await_all(mesh: Mesh, wanted: Callable[[], bool]) -> None:
    for peer in mesh._others():
        mesh.send(peer, b"here")
    for peer in mesh._others():
        while not _readable(mesh._socket(peer)):
            if not wanted():
                raise EndedError("the round was called off")
        mesh.receive(peer)


def _readable(connection: socket.socket) -> bool:
    poll = select.poll()  # unlike `select` it takes descriptors past 1024, of which tiles make many
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(LOOK_S * 1000))


def _fill(connection: socket.socket, target: bytearray | memoryview, peer: int) -> None:
    view = memoryview(target)
    while view.nbytes:
        try:
            count = connection.recv_into(view, view.nbytes, socket.MSG_WAITALL)
        except OSError as error:
            raise _gone(peer) from error
        if count == 0:
            raise _gone(peer)
        view = view[count:]


def _gone(peer: int) -> EndedError:
    return EndedError(f"rank {peer} has gone")
