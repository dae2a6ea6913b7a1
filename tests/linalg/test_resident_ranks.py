"""How ranks meet and part, by every way in which they talk."""

import os
import pickle
import socket
from typing import Any

import numpy as np
import pytest

from linalg import ranks
from overspill.linalg.resident import meeting, reporting
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
def test_all_hear_of_more_than_the_system_holds_for_them(kind: Any) -> None:
    """As much as the inner products of blocks of five hundred vectors are."""
    size = 2 if kind is ranks.nccl else 3

    def work(communicator: Communicator) -> Any:
        return communicator.allgather(own(kind, np.full(250_000, float(communicator.rank))), 0).parts

    for parts in ranks.run(size, kind, work):
        np.testing.assert_array_equal(parts, np.arange(float(size))[:, None] * np.ones(250_000))


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
        meeting.taken("a round that nobody has told this process of", "worker")


def test_workers_of_one_process_listen_each() -> None:
    addresses = [meeting.listen("test", worker, None, 2) for worker in ("one", "other")]
    found = [meeting.taken("test", worker) for worker in ("one", "other")]
    assert [meeting.address_of(each) for each in found] == addresses
    for each in found:
        each.close()


def test_vectors_are_handed_over_when_there_are_some() -> None:
    """A solver that has them every so many iterations only is asked until then."""
    told: list[dict[str, Any]] = []

    class Worker:
        def log_event(self, topic: str, event: dict[str, Any]) -> None:
            told.append(event)

    reporter = reporting.Reporter(Worker(), "test", 1, lambda: True)  # type: ignore[arg-type]
    reporter.space = space = Distributed(None, reporter.word)  # type: ignore[arg-type]
    space.asked_to_hand_over = True
    reporter(1, 1.0)
    assert told == []
    reporter(2, 0.5, x=np.ones(3))
    reporter(3, 0.25, x=np.zeros(3))
    assert [event["iteration"] for event in told] == [2]
    assert pickle.loads(told[0]["parts"])["x"].tolist() == [1, 1, 1]
