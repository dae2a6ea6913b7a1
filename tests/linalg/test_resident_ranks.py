"""How ranks meet and part, by every way in which they talk."""

import os
import socket
from typing import Any

import numpy as np
import pytest

from linalg import ranks
from overspill.linalg.resident import meeting
from overspill.linalg.resident.communicator import Communicator
from overspill.linalg.resident.mesh import EndedError
from overspill.linalg.resident.vectors import GO_ON, HAND_OVER, STOP, Distributed

HOST_KINDS = [ranks.shared, ranks.sockets]


def own(kind: Any, values: Any) -> Any:
    if kind is ranks.nccl:
        import cupy

        return cupy.asarray(values)
    return np.asarray(values)


@pytest.mark.parametrize("kind", ranks.KINDS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16", "i8"])
def test_all_hear_what_each_has(kind: Any, dtype: str) -> None:
    def work(communicator: Communicator) -> Any:
        part = own(kind, np.arange(6).reshape(2, 3).astype(dtype) * communicator.rank)
        return [communicator.allgather(part, 7 + communicator.rank + turn) for turn in range(3)]

    for found in ranks.run(2, kind, work):
        for turn, gathered in enumerate(found):
            assert gathered.parts.dtype == np.dtype(dtype)
            assert gathered.parts.tolist() == [(np.arange(6).reshape(2, 3) * rank).tolist() for rank in range(2)]
            assert gathered.words.tolist() == [7 + turn, 8 + turn]


@pytest.mark.parametrize("kind", ranks.KINDS)
@pytest.mark.parametrize("count", [1, 1000, 300_000])
def test_peers_exchange_messages_of_any_size(kind: Any, count: int) -> None:
    """One way at a time too: what was sent before must not be overwritten before it is read."""

    def work(communicator: Communicator) -> list[float]:
        rank, found = communicator.rank, []
        for turn in range(6):
            sends, receives = [None, None], [None, None]
            room = own(kind, np.zeros(count))
            if turn % 3 != rank:
                sends[1 - rank] = own(kind, np.full(count, 10.0 * rank + turn))
            if turn % 3 != 1 - rank:
                receives[1 - rank] = room
            communicator.exchange(sends, receives)()
            communicator.allgather(own(kind, np.zeros(1)), 0)
            found.append((float(room.min()), float(room.max())))
        return found

    for rank, found in enumerate(ranks.run(2, kind, work)):
        other = 10.0 * (1 - rank)
        assert found == [(other + turn,) * 2 if turn % 3 != 1 - rank else (0.0, 0.0) for turn in range(6)]


@pytest.mark.parametrize("kind", ranks.KINDS)
@pytest.mark.parametrize("waiting_for", ["allgather", "exchange"])
def test_who_waits_for_one_that_goes_hears_of_it(kind: Any, waiting_for: str) -> None:
    def work(communicator: Communicator) -> None:
        if communicator.rank == 1:
            raise ZeroDivisionError
        room = own(kind, np.zeros(10))
        if waiting_for == "allgather":
            communicator.allgather(room, 0)
        else:
            communicator.exchange([None, None], [None, room])()
            communicator.close()

    with pytest.raises(EndedError, match="rank 1 has gone"):
        ranks.run(2, kind, work)


@pytest.mark.parametrize("kind", ranks.KINDS)
def test_sums_carry_what_a_rank_has_to_say(kind: Any) -> None:
    def work(communicator: Communicator) -> list[bool]:
        words = iter([GO_ON, HAND_OVER if communicator.rank == 0 else GO_ON, STOP if communicator.rank else GO_ON])
        space = Distributed(communicator, lambda: next(words))
        x = own(kind, np.ones(3))
        found = []
        for _ in range(2):
            assert space.dots((x, x), (x, 2 * x)) == (6.0, 12.0)
            found.append(space.asked_to_hand_over)
        with pytest.raises(EndedError, match="called off"):
            space.gram(x[:, None], x[:, None])
        return found

    assert ranks.run(2, kind, work) == [[False, True]] * 2


def test_nobody_waits_for_one_that_is_not_wanted() -> None:
    listener = meeting.listener(None, 2)
    where = meeting.Meeting("test", os.urandom(32), (meeting.address_of(listener), "nobody"))
    with pytest.raises(EndedError, match="called off"):
        meeting.join(where, 0, listener, lambda: False)


@pytest.mark.parametrize("greeting", [b"", b"\x01\x00\x00\x00" + b"k" * 32])
def test_strangers_are_sent_away(greeting: bytes) -> None:
    listener = meeting.listener("127.0.0.1", 2)
    address = meeting.address_of(listener)
    where = meeting.Meeting("test", os.urandom(32), (address, "nobody"))
    with socket.create_connection(address) as stranger:
        stranger.sendall(greeting)
        stranger.shutdown(socket.SHUT_WR)
        looks = iter([True, True, False])
        with pytest.raises(EndedError, match="called off"):
            meeting.join(where, 0, listener, lambda: next(looks))
        assert stranger.recv(1) == b""


def test_a_process_that_took_anothers_place_says_so() -> None:
    with pytest.raises(meeting.StrangerError):
        meeting.taken("a round that nobody has told this process of")
