"""How the processes of a round meet: each listens, calls those of lower rank, and lets those of higher rank in."""

import hmac
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from overspill.linalg.resident.mesh import EndedError, Mesh, fill, gone

Address: TypeAlias = str | tuple[str, int]
"""A name in Linux's abstract namespace of sockets, which leaves no file behind, or a host and a port."""

LOOK_S = 0.1
"""How often one who waits for the others to come looks whether the round is still wanted."""

GREETING_S = 5.0
"""What a peer has to say who it is, once it is there."""

_GREETING = struct.Struct("<I32s")

_listening: dict[tuple[str, str], socket.socket] = {}
_lock = threading.Lock()


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


def listen(name: str, worker: str, host: str | None, backlog: int) -> Address:
    """Let `worker`, which may share its process with others, be called by the peers of the round `name`."""
    found = listener(host, backlog)
    with _lock:
        _listening[name, worker] = found
    return address_of(found)


def taken(name: str, worker: str) -> socket.socket:
    """What listens for the round `name` for `worker` of this process, which is now the caller's.

    Raises
    ------
    StrangerError
        If nothing does.
    """
    with _lock:
        found = _listening.pop((name, worker), None)
    if found is None:
        raise StrangerError("this process does not know the round: it took another one's place")
    return found


def forget(name: str, worker: str) -> None:
    """Listen no more for the round `name`."""
    with suppress(StrangerError):
        taken(name, worker).close()


def listener(host: str | None, backlog: int) -> socket.socket:
    """A socket that takes calls: from within this host, or at `host` from beyond."""
    if host is None and sys.platform == "linux":
        found = socket.socket(socket.AF_UNIX)
        found.bind("")  # the system picks a name
        found.listen(backlog)
        return found
    host = host or "127.0.0.1"
    return socket.create_server((host, 0), family=_family(host), backlog=backlog)


def address_of(listener: socket.socket) -> Address:
    """Where it is called."""
    address: bytes | tuple[str, int] = listener.getsockname()
    return address.decode() if isinstance(address, bytes) else address[:2]


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
    called = socket.socket(socket.AF_UNIX if isinstance(address, str) else _family(address[0]))
    try:
        called.connect(address)
        _hurry(called)
        called.sendall(_GREETING.pack(rank, meeting.key))
    except OSError as error:
        called.close()
        raise gone(peer) from error
    return called


def _answer(listener: socket.socket, meeting: Meeting, rank: int, peers: list[socket.socket | None]) -> None:
    """Let in who knows the key; everybody else is sent away."""
    caller, _ = listener.accept()
    greeting = bytearray(_GREETING.size)
    caller.settimeout(GREETING_S)
    try:
        fill(caller, greeting, rank)
        peer, key = _GREETING.unpack(greeting)
    except (EndedError, OSError):
        caller.close()
        return
    if not hmac.compare_digest(key, meeting.key) or not rank < peer < len(peers) or peers[peer] is not None:
        caller.close()
        return
    caller.settimeout(None)
    _hurry(caller)
    peers[peer] = caller


def _await_all(mesh: Mesh, wanted: Callable[[], bool]) -> None:
    for peer in mesh.others():
        mesh.send(peer, b"here")
    for peer in mesh.others():
        connection = mesh.peers[peer]
        while connection is not None and not _readable(connection):
            if not wanted():
                raise EndedError("the round was called off")
        mesh.receive(peer)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _hurry(connection: socket.socket) -> None:
    """Let short messages go at once: the peer waits for them."""
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _readable(connection: socket.socket) -> bool:
    poll = select.poll()  # unlike `select` it takes descriptors past 1024, of which tiles make many
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(LOOK_S * 1000))
